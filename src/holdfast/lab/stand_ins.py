"""Stand-ins for the scripts a configuration names: a lab steers the checks and writes the notifications down.

Works on the lines that the preprocessor leaves (one statement a line), and leaves everything else as it is.
"""

import re
from pathlib import Path

_CHECK = re.compile(r"^\s*(?:vrrp_)?script\s+(\S+)")
_OPENS = re.compile(r"^\s*vrrp_script\s+([^\s{]+)")
_NOTE = re.compile(
    r"^\s*(notify|notify_master|notify_backup|notify_fault|notify_stop|notify_deleted|notify_master_rx_lower_pri"
    r"|startup_script|shutdown_script)\s+\S"
)
_VERDICT = "#!/bin/sh\nread verdict < '{file}' || verdict=0\nexit $verdict\n"
_WRITE = "#!/bin/sh\necho \"{keyword} $*\" >> '{file}'\n"


def with_stand_ins(lines: list[str], directory: Path) -> str:
    """The text with stand-ins in `directory`, which are made here: `check-NAME` for each vrrp_script, and `note-…`."""
    done: list[str] = []
    inside = ""
    for line in lines:
        opens, note = _OPENS.match(line), _NOTE.match(line)
        if opens:
            inside = opens[1]
        elif inside and _CHECK.match(line):
            line = f'    script "{_check(inside, directory)}"'
        elif inside and line.strip().startswith("}"):
            inside = ""
        elif note:
            line = f'    {note[1]} "{_note(note[1], directory)}"'
        done.append(line)
    return "\n".join(done) + "\n"


def verdict_file(name: str, directory: Path) -> Path:
    """Holds the exit status of the stand-in for the check `name`."""
    return directory / f"verdict-{_safe(name)}"


def notes_file(directory: Path) -> Path:
    """Has a line for each notification: the keyword, and the arguments the script was called with."""
    return directory / "notes"


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _check(name: str, directory: Path) -> Path:
    verdict = verdict_file(name, directory)
    if not verdict.exists():
        verdict.write_text("0\n")
    return _executable(directory / f"check-{_safe(name)}", _VERDICT.format(file=verdict))


def _note(keyword: str, directory: Path) -> Path:
    notes = notes_file(directory)
    if not notes.exists():
        notes.touch()
        notes.chmod(0o666)  # whoever runs the scripts
    return _executable(directory / f"note-{keyword}", _WRITE.format(keyword=keyword, file=notes))


def _executable(path: Path, text: str) -> Path:
    if not path.exists():
        path.write_text(text)
        path.chmod(0o755)
    return path
