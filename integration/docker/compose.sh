# compose.sh, sourced: docker-compose 1.29 (two seconds a call): two services on a network of their own with a volume.

rm -rf "$work/project" && mkdir -p "$work/project"
cat >"$work/project/docker-compose.yml" <<'YAML'
version: "2.4"
services:
  store:
    image: busybox
    command: sh -c 'echo stored >/data/index.html; exec httpd -f -p 80 -h /data'
    volumes: ["shelf:/data"]
    networks: [inner]
    healthcheck: { test: "test -e /data/index.html", interval: 300ms, retries: 5 }
    mem_limit: 64m
    pids_limit: 30
    stop_signal: SIGKILL
  front:
    image: busybox
    command: sh -c 'echo ready as $$WHO; exec sleep 1000'
    environment: { WHO: front }
    depends_on: { store: { condition: service_healthy } }
    networks: [inner]
    read_only: true
    tmpfs: [/tmp]
    init: true
    user: keeper
    stop_signal: SIGKILL
volumes: { shelf: {} }
networks: { inner: {} }
YAML
compose() { timeout 90 docker-compose --ansi never --project-directory "$work/project" -f "$work/project/docker-compose.yml" -p project "$@"; }
succeeds "docker-compose up: it returns" compose up -d
output=$(compose ps)
has "docker-compose ps: both are up" 'front_1 .* Up' "$output"
has "docker-compose up: depends_on waited for health" 'store_1 .*healthy' "$output"
same "docker-compose exec: by the service's name" stored "$(compose exec -T front sh -c 'timeout 5 wget -q -O - http://store/' 2>/dev/null)"
ends "docker-compose exec: the exit status" 4 compose exec -T front sh -c 'id -u; exit 4'
same "docker-compose exec: the user" 1000 "$output"
has "docker-compose logs: the program's output" 'front_1 .*\| ready as front' "$(compose logs)"
same "docker-compose up: mem_limit" 67108864 "$(cgroup project_store_1 memory memory.limit_in_bytes memory.max)"
same "docker-compose up: pids_limit" 30 "$(cgroup project_store_1 pids pids.max)"
has "docker-compose up: read_only" 'Read-only file system' "$(docker exec --user root project_front_1 touch /x 2>&1)"
succeeds "docker-compose up --scale: three" compose up -d --scale front=3
same "docker-compose up --scale: three run" 3 "$(docker ps -q --filter label=com.docker.compose.service=front | wc -l)"
succeeds "docker-compose up --scale: one" compose up -d --scale front=1
same "docker-compose up --scale: one runs" 1 "$(docker ps -q --filter label=com.docker.compose.service=front | wc -l)"
# It attaches after the start: what is said before that is lost, below every runtime. The program goes on when its words have come.
compose run --rm -T --no-deps --name once front \
    sh -c 'until test -e /tmp/go; do echo waiting; sleep 0.2; done; echo once $(id -un)' >"$work/once" 2>&1 </dev/null &
attached=$!
within 40 grep -q waiting "$work/once"
docker exec once touch /tmp/go
wait $attached
same "docker-compose run: a single command" "once keeper" "$(tail -n 1 "$work/once")"

succeeds "docker-compose restart: it returns" compose restart front
succeeds "docker-compose pause: it returns" compose pause store
same "docker-compose pause: the service is paused" paused "$(inspect project_store_1 '{{.State.Status}}')"
succeeds "docker-compose unpause: it returns" compose unpause store
succeeds "docker-compose down: it returns" compose down -v
same "docker-compose down: nothing is left" "" "$(docker ps -aq; docker volume ls -q; docker network ls -q --filter name=project)"
