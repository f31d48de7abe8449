# networks.sh, sourced: the default bridge, published ports, networks with names, none; joined and left while running.

serve='echo hello from $(hostname) >/tmp/index.html; exec httpd -f -p 80 -h /tmp'
docker run -d --name web --hostname web -p 127.0.0.1:18080:80 -p 18081:80/tcp $image sh -c "$serve" >/dev/null
fetch() { timeout 10 python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end="")' "$1" 2>&1; }
within 10 fetch http://127.0.0.1:18080/
same "docker run -p: on the loopback of the host" "hello from web" "$(fetch http://127.0.0.1:18080/)"
same "docker run -p: on all addresses of the host" "hello from web" "$(fetch http://127.0.0.1:18081/)"
has "docker port: the published port" '^80/tcp -> 127.0.0.1:18080$' "$(docker port web)"
address=$(inspect web '{{.NetworkSettings.IPAddress}}')
same "docker run: another container reaches it" "hello from web" "$(run $image timeout 5 wget -q -O - "http://$address/")"
same "docker run: the host reaches it" "hello from web" "$(fetch "http://$address/")"
same "docker run --link: by name" "hello from web" "$(run --link web:server $image timeout 5 wget -q -O - http://server/)"
docker restart --time 0 web >/dev/null
within 10 fetch http://127.0.0.1:18080/
same "docker restart: the port is published again" "hello from web" "$(fetch http://127.0.0.1:18080/)"
remove web
same "docker rm: the port is free" refused "$(fetch http://127.0.0.1:18080/ >/dev/null && echo open || echo refused)"
has "docker run --network none: the loopback alone" '^1$' "$(run --network none $image sh -c 'ls /sys/class/net | grep -c .')"
has "docker run --network none: the loopback is up" '^1: lo: <LOOPBACK,UP' "$(run --network none $image ip link)"
has "docker run: eth0 on the bridge" 'eth0@.*LOWER_UP' "$(run $image ip link)"
same "docker run --mac-address: it" 02:42:ac:11:00:99 "$(run --mac-address 02:42:ac:11:00:99 $image cat /sys/class/net/eth0/address)"

succeeds "docker network create: a bridge" docker network create --subnet 10.88.0.0/24 sea
docker run -d --name ship --hostname ship --network sea --network-alias boat --ip 10.88.0.44 $image sh -c "$serve" >/dev/null
same "docker run --network: by name from another container" "hello from ship" "$(run --network sea $image timeout 5 wget -q -O - http://ship/)"
same "docker run --network-alias: by alias" "hello from ship" "$(run --network sea $image timeout 5 wget -q -O - http://boat/)"
same "docker run --ip: the address" 10.88.0.44 "$(run --network sea $image nslookup ship 2>/dev/null | sed -n 's/^Address: //p' | tail -n 1)"
docker run -d --name traveller $image sleep 1000 >/dev/null
same "docker network: not reached from elsewhere by name" no "$(docker exec traveller timeout 2 wget -q -O - http://ship/ >/dev/null 2>&1 && echo yes || echo no)"
succeeds "docker network connect: a running container" docker network connect sea traveller
has "docker network connect: another interface" 'eth1' "$(docker exec traveller ls /sys/class/net)"
same "docker network connect: the names of the network" "hello from ship" "$(docker exec traveller timeout 5 wget -q -O - http://ship/ 2>&1)"
succeeds "docker network disconnect: a running container" docker network disconnect sea traveller
lacks "docker network disconnect: the interface is gone" 'eth1' "$(docker exec traveller ls /sys/class/net)"
remove traveller ship
succeeds "docker network rm: it goes" docker network rm sea
