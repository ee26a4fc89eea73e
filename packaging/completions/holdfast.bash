# Completion of holdfast for bash 4.4 or newer; made by `holdfast completion bash`.
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
