# Completion of nimsyncctl for bash. Verbs and options are those of its --help, channels those of the registry that the
# line names so far; none is started for it.

# The options of a help text on standard input, one a line, each behind "value " when it takes one, else "flag ".
_nimsyncctl_options() {
  awk '/^  -/ {
    kind = $2 ~ /^[A-Z]+(=|$)/ ? "value" : "flag"
    count = split($1, names, ",")
    for (i = 1; i <= count; ++i) {
      sub(/\{.*/, "", names[i])
      if (names[i] ~ /^--/) print kind, names[i]
    }
  }'
}

_nimsyncctl() {
  local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  local verb='' at options words=''
  local -a place=()
  COMPREPLY=()
  # bash parts --option=value into three words.
  [[ $current != = ]] || current=''
  [[ $before != = ]] || before=${COMP_WORDS[COMP_CWORD - 2]}
  for ((at = 1; at < COMP_CWORD; ++at)); do
    case ${COMP_WORDS[at]} in
      --socket)
        [[ ${COMP_WORDS[at + 1]} != = ]] || ((++at))
        place+=(--socket "${COMP_WORDS[at + 1]}")
        ((++at))
        ;;
      --user | --system) place+=("${COMP_WORDS[at]}") ;;
      -*) ;;
      *) [[ -n $verb ]] || verb=${COMP_WORDS[at]} ;;
    esac
  done
  options=$("$program" --help 2>/dev/null | _nimsyncctl_options)
  [[ -z $verb ]] || options+=$'\n'$("$program" "$verb" --help 2>/dev/null | _nimsyncctl_options)

  case $before in
    --socket | --output)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    --state-dir)
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return
      ;;
    --group)
      mapfile -t COMPREPLY < <(compgen -g -- "$current")
      return
      ;;
    --layout) words='stamped dense' ;;
    --framing) words='lines raw length' ;;
    --sort) words='name sent received used full empty memory' ;;
    *)
      if [[ $before == --* ]] && grep -qxF "value $before" <<<"$options"; then
        return # a number, a name: nothing to offer
      elif [[ $current == -* ]]; then
        words=$(cut -d ' ' -f 2 <<<"$options")
      elif [[ -z $verb ]]; then
        words=$("$program" --help 2>/dev/null | awk '/^Subcommands:/ { on = 1; next } on && /^  [a-z]/ { sub(/,$/, "", $1); print $1 } /^$/ { on = 0 }')
      else
        case $verb in
          list | stat | top | check | remove | send | receive)
            words=$(timeout 2 "$program" --no-autostart "${place[@]}" list --no-header 2>/dev/null | cut -d ' ' -f 1)
            ;;
        esac
      fi
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _nimsyncctl nimsyncctl
