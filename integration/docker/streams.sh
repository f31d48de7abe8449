# streams.sh, sourced: docker run with and without a terminal, with and without stdin; detached; attach and logs.

succeeds "docker run: the program's output" run $image id -u
same "docker run: uid 0" 0 "$output"
same "docker run: stdout" out "$(run $image sh -c 'echo out; echo err >&2' 2>/dev/null)"
same "docker run: stderr" err "$(run $image sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)"
ends "docker run: the program's exit status" 7 run $image sh -c 'exit 7'
ends "docker run --init: a program ended by a signal" 143 run --init $image sh -c 'kill -TERM $$'
same "docker run: without -i stdin is empty" 0 "$(echo words | run $image wc -c)"
same "docker run -i: stdin comes from the pipe" words "$(echo words | run -i $image cat)"
same "docker run -i: a megabyte passes unchanged" "$(head -c 1048576 /dev/zero | tr '\0' x | sha256sum)" \
    "$(head -c 1048576 /dev/zero | tr '\0' x | run -i $image cat | sha256sum)"
has "docker run: without -t no terminal" '^not a tty$' "$(run $image tty 2>&1)"
has "docker run -t: a terminal" '^/dev/pts/0$' "$(run -t $image tty | tr -d '\r')"
# The client sets the size only after the start.
sized='for i in $(seq 50); do [ "$(stty size)" = "33 101" ] && break; sleep 0.2; done; stty size'
output=$(typed --size 33x101 "# =>$sized; tty; echo TERM=\$TERM; exit 5\n" -- docker run --rm -it --name typed $image sh; exit "${PIPESTATUS[0]}")
same "docker run -it: the shell's exit status" 5 $?
has "docker run -it: the terminal's size" '^33 101$' "$output"
has "docker run -it: its name" '^/dev/pts/0$' "$output"
has "docker run -it: TERM is set" '^TERM=xterm$' "$output"
# noflsh: a terminal throws away what is written while it is still at sending the signal, such as the prompt.
output=$(typed '# =>stty noflsh; echo rea""dy; sleep 100\n' 'ready=>>\x03' '# =>echo after $?\n' 'after 130=>exit\n' -- docker run --rm -it $image sh)
has "docker run -it: control-C reaches the foreground program" '^after 130$' "$output"
output=$(typed '# =>\x10\x11' -- docker run -it --name detached $image sh)
same "docker run -it: control-P control-Q leaves it running" running "$(inspect detached '{{.State.Status}}')"
output=$(typed '=>\n' '# =>echo back; exit\n' -- docker attach detached)
has "docker attach: to a terminal" '^back$' "$output"
remove detached

succeeds "docker run -d: it returns at once" docker run -d --name away $image sh -c 'echo started; sleep 0.3; echo ended >&2; exit 3'
has "docker run -d: it prints the id" '^[0-9a-f]{64}$' "$output"
same "docker wait: the exit status" 3 "$(docker wait away)"
same "docker logs: stdout" started "$(docker logs away 2>/dev/null)"
same "docker logs: stderr" ended "$(docker logs away 2>&1 >/dev/null)"
has "docker logs --timestamps: a time before each line" '^20[0-9-]+T[0-9:.]+Z started$' "$(docker logs -t away 2>&1)"
same "docker logs --tail: the last line only" ended "$(docker logs --tail 1 away 2>&1)"
remove away
docker run -d --name talking $image sh -c 'i=0; while [ $i -lt 10 ]; do echo line $i; i=$((i+1)); sleep 0.1; done' >/dev/null
has "docker logs -f: it follows to the end" '^line 9$' "$(docker logs -f talking 2>&1)"
remove talking
# What is said before the client has attached is lost: the program goes on when its words have come.
docker run -d --name heard $image sh -c 'until test -e /go; do echo waiting; sleep 0.2; done; echo heard; exit 4' >/dev/null
docker attach heard >"$work/heard" 2>&1 </dev/null &
attached=$!
within 30 grep -q waiting "$work/heard"
docker exec heard touch /go
wait $attached
same "docker attach: the exit status" 4 $?
same "docker attach: the output" heard "$(grep -v '^waiting$' "$work/heard")"
remove heard
ends "docker run -i -d then attach: stdin" 0 sh -c 'docker run -d -i --name fed busybox sh -c "read x; echo got \$x" >/dev/null && echo word | timeout 20 docker attach fed'
same "docker attach: what came through stdin" "got word" "$(docker logs fed 2>&1)"
remove fed
run --name gone $image true
ends "docker run --rm: the container is gone" 1 docker inspect gone
run --log-driver none --name unlogged -d $image sleep 1000 >/dev/null
ends "docker run --log-driver none: logs are refused" 1 docker logs unlogged
remove unlogged
