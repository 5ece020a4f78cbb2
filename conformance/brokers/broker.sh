# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the start scripts of the brokers share. A script of one broker sources
# it, defines these functions, and calls `broker_main "$@"`.
#
#   broker_title         prints what it is, for the help
#   port_names           prints the names of the ports of a node; `client` first
#   get                  installs or downloads the broker; quick where it is
#   configure NODE       writes the files of a node into $dir/NODE
#   launch NODE          replaces this process by the node (exec)
#   serves NODE          succeeds once clients of the node can work
#   produce QUEUE BODY   sends with the broker's own client
#   java_send QUEUE LINE, java_receive QUEUE COUNT
#                        the same with its Java client; see the usage
#   suite                prints the lines of $dir/suite.ini that only it needs
#   found NODE...        starts the new nodes, which become a cluster; optional
#   stopped              ends what the nodes leave running; optional
#
# Everything of a broker lies in $dir: NODE/ with configuration, data, log and
# process id of a node, and `nodes`, `ports`, `url` and `suite.ini`. Nodes count
# from 1.

set -euo pipefail
broker=$(basename "$0")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# How long a node may take until it serves, and until it has ended: seconds.
start_limit=120
stop_limit=30

usage() {
  cat <<END
usage: conformance/brokers/$broker <command> [--dir DIR] [--nodes N]

$(broker_title)
on free ports of 127.0.0.1, with its data in a temporary folder.

  up            get it if need be, start it, wait until it serves, print its URL
  url           print its URL
  suite         print the file that tells oms-conformance how to restart it, cut
                its connections, and how late things may come
  status        print its nodes and whether they run
  produce QUEUE BODY
                send a message with the broker's own client
  java-send QUEUE LINE
                send one with its Java client; LINE is "name:value,...", which
                are its headers, a tab and the body
  java-receive QUEUE COUNT
                print so many in that form with its Java client
  stop [NODE]   end a node, or all, in order
  kill [NODE]   end a node, or all, at once, as a loss of power would
  start [NODE]  start what does not run, with the ports and data that it had
  restart       stop and start
  down          end it and remove its data

  --dir DIR     where it keeps everything; one folder, one broker
  --nodes N     with up: a cluster of so many nodes, each a process; 1
  --help        this text

Whatever takes a URL can be pointed at it:

  oms send "\$(conformance/brokers/$broker up)" ...
  oms-conformance "\$(conformance/brokers/$broker url)" \\
    --config "\$(conformance/brokers/$broker suite)"
END
}

fail() {
  printf '%s: %s\n' "$broker" "$*" >&2
  exit 1
}

# Prints the ids of the nodes.
nodes() { seq 1 "$(cat "$dir/nodes")"; }

# Prints the number of the port NAME of NODE.
port() {
  awk -v name="$1" -v node="$2" '$1 == name && $2 == node { print $3 }' \
    "$dir/ports"
}

# Prints "host:port" of every node's port NAME, joined by commas.
hosts() {
  local node list=
  for node in $(nodes); do list=$list,127.0.0.1:$(port "$1" "$node"); done
  printf '%s\n' "${list#,}"
}

# Chooses a free port for each name and node. All are held until the last one
# is chosen, so that none is chosen twice.
choose_ports() {
  # shellcheck disable=SC2046 # The names are words of their own.
  python3 - "$(cat "$dir/nodes")" $(port_names) <<'END' >"$dir/ports"
import socket
import sys

held = []
for node in range(1, int(sys.argv[1]) + 1):
    for name in sys.argv[2:]:
        held.append(socket.socket())
        held[-1].bind(("127.0.0.1", 0))
        print(name, node, held[-1].getsockname()[1])
END
}

# Prints when a process began, in ticks since the machine did: with its id it
# names that process and no later one.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Succeeds where the node runs.
runs() {
  local pid time
  read -r pid time 2>/dev/null <"$dir/$1/pid" || return 1
  [ -n "$time" ] && [ "$(began "$pid")" = "$time" ] &&
    ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null
}

# Ends a node with a signal and waits until it is gone.
end() {
  local node=$1 signal=$2 pid time limit=$((SECONDS + stop_limit))
  runs "$node" || return 0
  read -r pid time <"$dir/$node/pid"
  kill "-$signal" "$pid" 2>/dev/null || true
  while runs "$node"; do
    [ "$SECONDS" -lt "$limit" ] || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.05
  done
}

# Starts those of the nodes that do not run, together: the nodes of a cluster
# wait for each other.
start() {
  local node
  for node in "$@"; do
    runs "$node" && continue
    (
      cd "$dir/$node"
      launch "$node"
    ) >>"$dir/$node/log" 2>&1 </dev/null &
    printf '%s %s\n' "$!" "$(began "$!")" >"$dir/$node/pid"
    disown
  done
  for node in "$@"; do await "$node"; done
}

await() {
  local limit=$((SECONDS + start_limit))
  until serves "$1" >/dev/null 2>&1; do
    if ! runs "$1" || [ "$SECONDS" -ge "$limit" ]; then
      tail -n 20 "$dir/$1/log" >&2
      fail "start \"node $1\": it ended, or did not serve within" \
        "$start_limit s; its log is $dir/$1/log"
    fi
    sleep 0.1
  done
}

# Makes $dir/tls: an authority (ca.pem), another one that signed nothing
# (other-ca.pem), and a certificate of the first one for the name `localhost`
# alone, so that it is not good for 127.0.0.1 (server.pem, server.key).
make_certificates() {
  local tls=$dir/tls name
  [ ! -e "$tls/server.pem" ] || return 0
  mkdir -p "$tls"
  for name in ca other-ca; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=OMS $name" \
      -keyout "$tls/$name.key" -out "$tls/$name.pem" 2>/dev/null
  done
  openssl req -newkey rsa:2048 -nodes -subj /CN=localhost \
    -keyout "$tls/server.key" -out "$tls/server.csr" 2>/dev/null
  openssl x509 -req -in "$tls/server.csr" -days 30 -CA "$tls/ca.pem" \
    -CAkey "$tls/ca.key" -CAcreateserial -out "$tls/server.pem" \
    -extfile <(printf 'subjectAltName=DNS:localhost\n') 2>/dev/null
}

# Succeeds where something listens at that port of 127.0.0.1.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

up() {
  local node
  [ ! -e "$dir/url" ] || fail "up \"$dir\": there is one; see status, or down"
  get
  mkdir -p "$dir"
  printf '%s\n' "$1" >"$dir/nodes"
  choose_ports
  for node in $(nodes); do
    mkdir -p "$dir/$node"
    configure "$node"
  done
  printf '%s\n' "oms:$broker://$(hosts client)" >"$dir/url"
  {
    printf 'restart-command="%s restart --dir %s"\n' "$here/$broker" "$dir"
    printf 'foreign-command="%s produce --dir %s"\n' "$here/$broker" "$dir"
    suite
  } >"$dir/suite.ini"
  # shellcheck disable=SC2046 # Nodes are words of their own.
  found $(nodes)
  cat "$dir/url"
}

down() {
  local node
  [ -e "$dir/nodes" ] || return 0
  for node in $(nodes); do end "$node" KILL; done
  stopped
  rm -rf "$dir"
}

status() {
  local node state
  cat "$dir/url"
  for node in $(nodes); do
    state='does not run'
    runs "$node" && state="runs, process $(cut -d' ' -f1 "$dir/$node/pid")"
    printf 'node %s at 127.0.0.1:%s %s\n' "$node" "$(port client "$node")" \
      "$state"
  done
}

found() { start "$@"; }

stopped() { :; }

broker_main() {
  local command='' words=() node='' count=1 chosen each
  dir=${TMPDIR:-/tmp}/openmessaging-$(id -u)/$broker
  while [ $# -gt 0 ]; do
    case $1 in
      --help | -h) usage && exit 0 ;;
      --dir | --nodes)
        [ $# -ge 2 ] || fail "$1: a value is missing; see --help"
        if [ "$1" = --dir ]; then dir=$2; else count=$2; fi
        shift
        ;;
      -*) fail "unknown option \"$1\"; see --help" ;;
      *) if [ -z "$command" ]; then command=$1; else words+=("$1"); fi ;;
    esac
    shift
  done
  case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
  [[ $count =~ ^[1-9]$ ]] || fail "--nodes \"$count\": expected 1 to 9"
  case $command in
    up) up "$count" && return ;;
    down) down && return ;;
    url | suite | status | stop | kill | start | restart) ;;
    produce | java-send | java-receive) ;;
    '') usage >&2 && exit 2 ;;
    *) fail "unknown command \"$command\"; see --help" ;;
  esac
  [ -e "$dir/url" ] || fail "$command \"$dir\": there is none; see up"
  case $command in
    produce | java-send | java-receive)
      [ "${#words[@]}" = 2 ] ||
        fail "$command: expected a queue and a body or count; see --help"
      "${command/-/_}" "${words[@]}"
      return
      ;;
  esac
  node=${words[0]:-}
  chosen=$(nodes)
  if [ -n "$node" ]; then
    grep -qxF "$node" <<<"$chosen" ||
      fail "$command \"$node\": the nodes are 1 to $(cat "$dir/nodes")"
    chosen=$node
  fi
  case $command in
    url) cat "$dir/url" ;;
    suite) printf '%s\n' "$dir/suite.ini" ;;
    status) status ;;
    stop | restart) for each in $chosen; do end "$each" TERM; done ;;
    kill) for each in $chosen; do end "$each" KILL; done ;;
  esac
  case $command in
    # shellcheck disable=SC2086 # Nodes are words of their own.
    start | restart) start $chosen ;;
  esac
}
