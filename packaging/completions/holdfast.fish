# Completion of holdfast for fish; made by `holdfast completion fish`.
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
