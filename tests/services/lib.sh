# shellcheck shell=bash disable=SC2034 # the constants are used by the scripts that source this
# Helpers shared by the service scripts. Source this file; by itself it starts nothing.
#
# A service is one process with a name. Its process id is kept in run/NAME.pid, its output in
# log/NAME.log. Java processes carry the argument -Dweir.service=STATE/NAME, so that a process
# id from an old file is never mistaken for one of ours.

set -euo pipefail

KAFKA_VERSION=4.3.1
DEBEZIUM_VERSION=3.7.0.Final
DEBEZIUM_MARIADB_VERSION=3.5.0.Final
LOG4J_VERSION=2.24.3
KAFKA_PORT=19092
KAFKA_CONTROLLER_PORT=19093
KAFKA_BOOTSTRAP=127.0.0.1:$KAFKA_PORT
POSTGRES_PORT=15432
MARIADB_PORT=13306
LOG4J_JARS=(
  "org.apache.logging.log4j:log4j-slf4j-impl:$LOG4J_VERSION"
  "org.apache.logging.log4j:log4j-core:$LOG4J_VERSION"
)

SERVICES_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SERVICES_STATE=${WEIR_SERVICES_DIR:-$HOME/.cache/weir-services}
mkdir -p "$SERVICES_STATE"/{run,log}
SERVICES_STATE=$(cd "$SERVICES_STATE" && pwd)

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "error: $*"
  exit 1
}

fail_with_log() { # fail_with_log FILE MESSAGE...
  local log=$1
  shift
  say "error: $*; the end of $log:"
  tail -n 25 "$log" >&2 || true
  exit 1
}

# Runs a command while holding a lock, so that two callers do not install or start the same thing
# at once. The lock lives on descriptor 9, which a daemon must not inherit: launch closes it.
locked() { # locked NAME COMMAND...
  local name=$1
  shift
  (
    flock -w 900 9 || fail "waited 15 minutes for the lock '$name'"
    "$@"
  ) 9>"$SERVICES_STATE/run/$name.lock"
}

# ---- installing -------------------------------------------------------------------------------

# Everything named install_ runs under the lock "install", which the need_ functions take.
need_package() { # need_package COMMAND PACKAGE
  command -v "$1" >/dev/null || locked install install_package "$1" "$2"
}

install_package() { # install_package COMMAND PACKAGE
  if command -v "$1" >/dev/null; then return; fi # done by the caller that held the lock before us
  [ "$(id -u)" = 0 ] || fail "package $2 is missing: install it, or run this as root"
  say "installing package $2"
  local log=$SERVICES_STATE/log/install-packages.log
  if ! apt_install "$2" >"$log" 2>&1; then # no package lists yet, or lists that are too old
    dpkg --configure -a >"$log" 2>&1 || true # an installation that was cut off stands in the way of all others
    apt-get update >"$log" 2>&1 || fail_with_log "$log" "apt-get update failed"
    apt_install "$2" >"$log" 2>&1 || fail_with_log "$log" "package $2 could not be installed"
  fi
}

# The same of a package that brings a server: Debian starts it at once, and policy-rc.d says not to.
need_quiet_package() { # need_quiet_package COMMAND PACKAGE
  command -v "$1" >/dev/null || locked install install_quiet_package "$1" "$2"
}

install_quiet_package() { # install_quiet_package COMMAND PACKAGE
  local policy=/usr/sbin/policy-rc.d result=0
  if [ "$(id -u)" != 0 ] || [ -e "$policy" ]; then # the machine has a policy of its own
    install_package "$1" "$2"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  (install_package "$1" "$2") || result=$?
  rm -f "$policy"
  return "$result"
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "$1" 9>&-
}

# Puts Maven artifacts and all they need at run time into a folder.
need_jars() { # need_jars FOLDER GROUP:ARTIFACT:VERSION...
  jars_present "$@" || locked install install_jars "$@"
}

jars_present() {
  local folder=$1
  shift
  [ "$(cat "$folder/coordinates" 2>/dev/null)" = "$*" ]
}

install_jars() {
  jars_present "$@" && return
  local folder=$1 log=$SERVICES_STATE/log/install-jars.log
  shift
  install_package java openjdk-17-jre-headless
  install_package mvn maven
  say "downloading $*"
  rm -rf "$folder" "$folder.partial"
  mkdir -p "$folder.partial"
  write_pom "$@" >"$folder.partial/pom.xml"
  download_jars "$folder.partial" >"$log" 2>&1 || download_jars "$folder.partial" >"$log" 2>&1 ||
    fail_with_log "$log" "the jars could not be downloaded"
  echo "$*" >"$folder.partial/coordinates"
  mv "$folder.partial" "$folder" # last, so that a folder is either complete or absent
}

write_pom() {
  local coordinate group artifact version
  echo '<project><modelVersion>4.0.0</modelVersion>'
  echo '<groupId>weir.test</groupId><artifactId>services</artifactId><version>1</version>'
  echo '<packaging>pom</packaging><dependencies>'
  for coordinate in "$@"; do
    IFS=: read -r group artifact version <<<"$coordinate"
    echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId>"
    echo "<version>$version</version></dependency>"
  done
  echo '</dependencies></project>'
}

download_jars() { # -U: a download that failed once is otherwise remembered as missing
  mvn -U -q -B -Dstyle.color=never -f "$1/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$1" 9>&-
}

install_kafka() { # install_kafka JARS
  need_package kcat kcat
  need_package java openjdk-17-jre-headless
  need_jars "$1" "org.apache.kafka:kafka_2.13:$KAFKA_VERSION" \
    "org.apache.kafka:kafka-tools:$KAFKA_VERSION" "${LOG4J_JARS[@]}"
}

# ---- processes --------------------------------------------------------------------------------

# Starts a Java process that outlives this script.
launch() { # launch NAME JAVA-ARGUMENT...
  local name=$1
  shift
  local log=$SERVICES_STATE/log/$name.log
  if [ -f "$log" ]; then mv "$log" "$log.old"; fi
  setsid java "-Dweir.service=$SERVICES_STATE/$name" \
    "-Dlog4j2.configurationFile=$SERVICES_SOURCE/log4j2.properties" "$@" \
    >"$log" 2>&1 </dev/null 9>&- &
  echo $! >"$SERVICES_STATE/run/$name.pid"
}

# A command of the jars in $jars that ends at once: a small heap, and no time spent on optimising.
short_java() {
  java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
    "-Dlog4j2.configurationFile=$SERVICES_SOURCE/log4j2.properties" -cp "$jars/*" "$@"
}

# Prints the process id of a service; fails when it is not running.
service_pid() { # service_pid NAME
  local pid
  pid=$(cat "$SERVICES_STATE/run/$1.pid" 2>/dev/null) || return 1
  grep -qzxF -e "-Dweir.service=$SERVICES_STATE/$1" "/proc/$pid/cmdline" 2>/dev/null || return 1
  echo "$pid"
}

# Waits until a probe succeeds. A probe that ends with 2 says that waiting is of no use.
wait_ready() { # wait_ready NAME SECONDS PROBE...
  local name=$1 seconds=$2 pid result begin=$SECONDS
  shift 2
  local log=$SERVICES_STATE/log/$name.log
  pid=$(cat "$SERVICES_STATE/run/$name.pid")
  while true; do
    result=0
    "$@" >/dev/null 2>&1 || result=$?
    case $result in
      0) break ;;
      2) fail_with_log "$log" "$name runs, but does not work" ;;
    esac
    if ended "$pid"; then fail_with_log "$log" "$name ended while starting"; fi
    [ $((SECONDS - begin)) -lt "$seconds" ] ||
      fail_with_log "$log" "$name was not ready after $seconds s"
    sleep 0.2
  done
  say "$name: ready, pid $pid"
}

stop_service() { # stop_service NAME [SIGNAL]
  local name=$1 signal=${2:-TERM} pid
  if pid=$(service_pid "$name"); then
    kill "-$signal" "$pid" || true
    if ! wait_ended "$pid" 30; then
      say "$name: still there 30 s after SIG$signal, sending SIGKILL"
      kill -KILL "$pid" || true
      wait_ended "$pid" 10 || fail "$name: pid $pid does not end"
    fi
    say "$name: stopped with SIG$signal"
  else
    say "$name: not running"
  fi
  rm -f "$SERVICES_STATE/run/$name.pid"
}

wait_ended() { # wait_ended PID SECONDS
  local begin=$SECONDS
  until ended "$1"; do
    [ $((SECONDS - begin)) -lt "$2" ] || return 1
    sleep 0.1
  done
}

# Whether a process has let go of its files and ports: it is no more, or is a zombie without other
# threads that its parent has not collected yet.
ended() { # ended PID
  local stat tasks
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  tasks=("/proc/$1/task"/*)
  [[ ${stat##*) } == Z* && ${#tasks[@]} = 1 ]]
}

report_status() { # report_status NAME
  local pid
  if pid=$(service_pid "$1"); then
    say "$1: running, pid $pid"
  else
    say "$1: stopped"
    return 3
  fi
}

# Fails when something that is not ours listens on a port that we are about to use.
need_free_port() { # need_free_port SERVICE PORT
  if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then
    fail "$1: port $2 is taken by a process that these scripts did not start"
  fi
}
