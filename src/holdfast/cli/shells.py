"""The completion scripts of bash, zsh and fish, and what each is given: click's machinery, with our own words for it.

Each script hands the line up to the cursor over in COMP_WORDS and reads a line a proposal: kind (`plain`, `file` or
`dir`), value, meaning, with tabs between. What a shell itself does well, such as the names of files, is left to it.
"""

import os
import re

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, split_arg_string

BASH = r"""# Completion of holdfast for bash 4.4 or newer; made by `holdfast completion bash`.
_holdfast_completion() {
    local kind value about
    COMPREPLY=()
    while IFS=$'\t' read -r kind value about; do
        case $kind in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(_HOLDFAST_COMPLETE=bash_complete COMP_WORDS="${COMP_LINE:0:COMP_POINT}" \
        COMP_WORDBREAKS="$COMP_WORDBREAKS" "$1" 2>/dev/null)
}
complete -o nosort -F _holdfast_completion holdfast
"""

ZSH = r"""#compdef holdfast
# Completion of holdfast for zsh; made by `holdfast completion zsh`.
_holdfast() {
    local line kind value about
    local -a fields plain described
    for line in "${(@f)$(_HOLDFAST_COMPLETE=zsh_complete COMP_WORDS="${words[1,CURRENT-1]} $PREFIX" \
            ${(Q)words[1]} 2>/dev/null)}"; do
        fields=("${(@ps:\t:)line}")
        kind=$fields[1] value=$fields[2] about=$fields[3]
        case $kind in
            file) compset -P '[^/]#='; _files ;;
            dir) compset -P '[^/]#='; _files -/ ;;
            plain)
                if [[ -n $about ]]; then
                    described+=("${value//:/\\:}:$about")
                else
                    plain+=("$value")
                fi ;;
        esac
    done
    (( $#described )) && _describe -V holdfast described
    (( $#plain )) && compadd -V values -a plain
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _holdfast "$@"
else
    compdef _holdfast holdfast
fi
"""

FISH = r"""# Completion of holdfast for fish; made by `holdfast completion fish`.
function __holdfast_complete
    set -l line (commandline -cp)
    set -l word (commandline -ct)
    set -l lead (string match -r '^[^/]*=' -- $word)
    for proposal in (env _HOLDFAST_COMPLETE=fish_complete COMP_WORDS="$line" holdfast 2>/dev/null)
        set -l fields (string split \t -- $proposal)
        switch $fields[1]
            case file
                for path in (__fish_complete_path (string replace -- "$lead" '' "$word"))
                    echo "$lead$path"
                end
            case dir
                for path in (__fish_complete_directories (string replace -- "$lead" '' "$word"))
                    echo "$lead$path"
                end
            case plain
                printf '%s\t%s\n' $fields[2] "$fields[3]"
        end
    end
end
complete --command holdfast --no-files --keep-order --arguments '(__holdfast_complete)'
"""

_BARE = re.compile(r"[^\w@%+=:,./\[\]-]")
"""What bash would not take as it stands."""


class Shell(ShellComplete):
    """What the three have in common: the words before the cursor, and the form of a proposal."""

    def source(self) -> str:
        """The script, as it stands."""
        return self.source_template

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one at the cursor, without the command, and as much of that one as is there."""
        line = os.environ.get("COMP_WORDS", "")
        words = split_arg_string(line)
        begun = "" if not words or line[-1:].isspace() else words.pop()
        return words[1:], begun

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Kind, value and meaning, with tabs between."""
        return "\t".join(" ".join(str(text or "").split()) for text in (item.type, item.value, item.help))

    def complete(self) -> str:
        """The proposals, a line each, as the shell wants to put them in."""
        words, begun = self.get_completion_args()
        items = self.get_completions(words, begun)
        for item in items:
            if item.type == "plain":
                item.value = self.placed(str(item.value), begun)
        return "\n".join(self.format_completion(item) for item in items)

    def placed(self, value: str, begun: str) -> str:
        """A value with the `--option=` that stands before it in the same word."""
        return begun[: begun.index("=") + 1] + value if begun.startswith("-") and "=" in begun else value


class Bash(Shell):
    """bash, which parts words at `:` and `=` too and replaces only what is behind the last."""

    name = "bash"
    source_template = BASH

    def placed(self, value: str, begun: str) -> str:
        """What bash puts in place of the rest of the word behind its last break."""
        whole = super().placed(value, begun)
        breaks = [begun.rfind(sign) for sign in ":=" if sign in os.environ.get("COMP_WORDBREAKS", ":=")]
        return _BARE.sub(r"\\\g<0>", whole[max([*breaks, -1]) + 1 :])


class Zsh(Shell):
    """zsh, which quotes what it puts in."""

    name = "zsh"
    source_template = ZSH


class Fish(Shell):
    """fish, which quotes what it puts in."""

    name = "fish"
    source_template = FISH


SHELLS: dict[str, type[Shell]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}
"""The shells by name."""


def register() -> None:
    """Tell click that these speak for their shells."""
    for shell in SHELLS.values():
        add_completion_class(shell)
