# Ends what `plimsoll up` started when `plimsoll up` dies without having done so (kill -9).
# Its standard input is a pipe that only `plimsoll up` holds: the end of it is the death of that.
# $1 is a directory of this one `up`, with files `<name>.pid`, each holding `<pid> <signal> <start time>`.

while read -r _; do :; done

# Whether the process of a file still runs; sets pid and signal.
is_alive() {
    [ -f "$1" ] && read -r pid signal started <"$1" && [ "$pid" -gt 1 ] 2>/dev/null || return 1
    kill -0 "$pid" 2>/dev/null || return 1
    [ -r "/proc/$pid/stat" ] || return 0
    read -r stat <"/proc/$pid/stat" || return 1
    # After the name in parentheses: the state, then the start time as the 20th word.
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "${20}" = "$started" ]
}

for file in "$1"/*.pid; do
    is_alive "$file" && kill -"$signal" "$pid"
done

n=0
while [ "$n" -lt 100 ]; do
    any=
    for file in "$1"/*.pid; do
        is_alive "$file" && any=1
    done
    [ -n "$any" ] || break
    sleep 0.1
    n=$((n + 1))
done

for file in "$1"/*.pid; do
    is_alive "$file" && { kill -9 -"$pid" || kill -9 "$pid"; }
    rm -f "$file"
done
rmdir "$1"
