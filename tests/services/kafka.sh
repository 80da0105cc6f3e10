#!/usr/bin/env bash
# One Kafka node in KRaft mode on 127.0.0.1:19092.
# Topics are never created by accident: automatic creation is off.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home=$SERVICES_STATE/kafka
jars=$home/jars
cluster_id=WeirTestServicesKafkaA

usage() {
  say "usage: kafka.sh start | stop | restart | kill | status
       kafka.sh topic NAME PARTITIONS
       kafka.sh delete-topic NAME|PATTERN   waits for one by its name, not for those of a pattern
       kafka.sh partitions NAME
       kafka.sh produce FILE TOPIC [PARTITIONER]   key, tab, value per line; no value: tombstone"
  exit 2
}

write_settings() {
  cat <<SETTINGS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$KAFKA_CONTROLLER_PORT
listeners=PLAINTEXT://$KAFKA_BOOTSTRAP,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT
advertised.listeners=PLAINTEXT://$KAFKA_BOOTSTRAP
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$home/data
num.partitions=4
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
SETTINGS
}

format_storage() {
  local log=$SERVICES_STATE/log/kafka-format.log
  say "kafka: formatting $home/data"
  short_java kafka.tools.StorageTool format --ignore-formatted --cluster-id "$cluster_id" \
    --config "$home/server.properties" >"$log" 2>&1 9>&- ||
    fail_with_log "$log" "the storage could not be formatted"
}

topic_tool() {
  local log=$SERVICES_STATE/log/kafka-topic.$$.log
  short_java org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BOOTSTRAP" "$@" \
    >"$log" 2>&1 || fail_with_log "$log" "the topic command failed"
  rm "$log"
}

# Ready: the broker answers, and every partition has a leader.
answers() {
  local metadata
  metadata=$(kcat -b "$KAFKA_BOOTSTRAP" -L -m 2 2>/dev/null) || return 1
  grep -q 'broker 1 at' <<<"$metadata" && ! grep -q 'leader -1' <<<"$metadata"
}

start() {
  if ! service_pid kafka >/dev/null; then
    install_kafka "$jars"
    need_free_port kafka "$KAFKA_PORT"
    need_free_port kafka "$KAFKA_CONTROLLER_PORT"
    write_settings >"$home/server.properties"
    [ -f "$home/data/meta.properties" ] || format_storage
    launch kafka -Xms256m -Xmx1g -cp "$jars/*" kafka.Kafka "$home/server.properties"
  fi
  wait_ready kafka 120 answers
}

restart() {
  stop_service kafka
  start
}

# Prints the number of partitions, nothing when there is no such topic.
partition_count() { # partition_count TOPIC
  kcat -b "$KAFKA_BOOTSTRAP" -L -m 10 |
    sed -n "s/^ *topic \"${1//./\\.}\" with \([0-9]*\) partitions.*/\1/p"
}

create_topic() { # create_topic TOPIC PARTITIONS
  local present
  present=$(partition_count "$1")
  if [ -z "$present" ]; then
    topic_tool --create --if-not-exists --topic "$1" --partitions "$2" --replication-factor 1
    say "topic $1: created with $2 partitions"
  elif [ "$present" = "$2" ]; then
    say "topic $1: exists with $2 partitions"
  else
    fail "topic $1 exists with $present partitions, not $2"
  fi
}

delete_topic() { # delete_topic TOPIC
  topic_tool --delete --if-exists --topic "$1"
  local begin=$SECONDS
  while [ -n "$(partition_count "$1")" ]; do
    [ $((SECONDS - begin)) -lt 30 ] || fail "topic $1 is still there after 30 s"
    sleep 0.2
  done
  say "topic $1: gone"
}

produce() { # produce FILE TOPIC [PARTITIONER]
  local partitioner=${3:-murmur2_random} # the choice of Kafka's Java clients, Connect included
  local log=$SERVICES_STATE/log/kafka-produce.$$.log
  [ -r "$1" ] || fail "$1 cannot be read"
  [ -n "$(partition_count "$2")" ] || fail "there is no topic $2"
  kcat -P -b "$KAFKA_BOOTSTRAP" -t "$2" -K $'\t' -Z -l "$1" -X "partitioner=$partitioner" \
    -X enable.idempotence=true -X linger.ms=20 -X batch.num.messages=20000 >"$log" 2>&1 ||
    fail_with_log "$log" "loading $1 into $2 failed"
  if grep -q 'Delivery failed' "$log"; then # which kcat does not count as a failure
    fail_with_log "$log" "records of $1 did not reach $2"
  fi
  rm "$log"
  say "topic $2: loaded $1"
}

case "${1:-} $#" in
  'start 1') locked kafka start ;;
  'stop 1') locked kafka stop_service kafka ;;
  'restart 1') locked kafka restart ;;
  'kill 1') locked kafka stop_service kafka KILL ;;
  'status 1') report_status kafka ;;
  'topic 3') create_topic "$2" "$3" ;;
  'delete-topic 2') delete_topic "$2" ;;
  'partitions 2') partition_count "$2" ;;
  'produce 3' | 'produce 4') produce "${@:2}" ;;
  *) usage ;;
esac
