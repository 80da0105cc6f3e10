#!/usr/bin/env bash
# One more Kafka node in KRaft mode, with TLS: SASL_SSL on 127.0.0.1:19192 (PLAIN, SCRAM-SHA-256 and
# SCRAM-SHA-512, OAUTHBEARER with unsigned tokens), TLS with client certificates on 19193, and a
# plaintext listener on 19194 to fill its topics. Its broker certificate is for the address 127.0.0.1
# and no name. User and password are `weir` and `let-weir-in`, passwords of keys `open-the-key`.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home=$SERVICES_STATE/secure-kafka
certificates=$home/certificates
jars=$SERVICES_STATE/kafka/jars
plain=127.0.0.1:19194
cluster_id=WeirTestSecureKafkaAAA
login=org.apache.kafka.common.security

usage() {
  say "usage: secure-kafka.sh start | stop | status
       secure-kafka.sh topic NAME PARTITIONS      creates it anew
       secure-kafka.sh certificates               prints the folder that holds them"
  exit 2
}

# ca.pem signed broker.pem and client.pem; stranger.pem is a CA that signed neither.
make_certificates() {
  [ -f "$certificates/complete" ] && return
  need_package openssl openssl
  local log=$SERVICES_STATE/log/certificates.log
  say "making certificates in $certificates"
  rm -rf "$certificates"
  mkdir -p "$certificates"
  (
    cd "$certificates"
    authority ca
    authority stranger
    signed broker "subjectAltName=IP:127.0.0.1"
    signed client "extendedKeyUsage=clientAuth"
    # Kafka reads key and chain from one file, keys in PKCS#8.
    cat broker.key broker.pem ca.pem >broker-store.pem
    openssl pkcs8 -topk8 -v2 aes256 -in client.key -out client-locked.key -passout pass:open-the-key
    echo open-the-key >key-password
    echo let-weir-in >password
    touch complete
  ) >"$log" 2>&1 || fail_with_log "$log" "the certificates could not be made"
}

authority() { # authority NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -keyout "$1.key" -out "$1.pem" -subj "/CN=Weir test authority $1"
}

signed() { # signed NAME EXTENSION
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$1.key" -out "$1.csr" -subj "/CN=weir-$1"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
    -out "$1.pem" -extfile <(echo "$2")
}

write_settings() {
  cat <<SETTINGS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:19195
listeners=SASL_SSL://127.0.0.1:19192,MTLS://127.0.0.1:19193,PLAINTEXT://$plain,CONTROLLER://127.0.0.1:19195
advertised.listeners=SASL_SSL://127.0.0.1:19192,MTLS://127.0.0.1:19193,PLAINTEXT://$plain
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=SASL_SSL:SASL_SSL,MTLS:SSL,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=$certificates/broker-store.pem
ssl.truststore.type=PEM
ssl.truststore.location=$certificates/ca.pem
listener.name.mtls.ssl.client.auth=required
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_ssl.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_weir="let-weir-in";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=$login.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
log.dirs=$home/data
num.partitions=2
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
SETTINGS
}

format_storage() {
  local log=$SERVICES_STATE/log/secure-kafka-format.log
  say "secure-kafka: formatting $home/data"
  short_java kafka.tools.StorageTool format --ignore-formatted --cluster-id "$cluster_id" \
    --config "$home/server.properties" \
    --add-scram 'SCRAM-SHA-256=[name=weir,password=let-weir-in]' \
    --add-scram 'SCRAM-SHA-512=[name=weir,password=let-weir-in]' >"$log" 2>&1 9>&- ||
    fail_with_log "$log" "the storage could not be formatted"
}

answers() {
  kcat -b "$plain" -L -m 2 2>/dev/null | grep -q 'broker 1 at'
}

start() {
  if ! service_pid secure-kafka >/dev/null; then
    install_kafka "$jars"
    mkdir -p "$home"
    make_certificates
    for port in 19192 19193 19194 19195; do need_free_port secure-kafka "$port"; done
    write_settings >"$home/server.properties"
    [ -f "$home/data/meta.properties" ] || format_storage
    launch secure-kafka -Xms128m -Xmx512m -cp "$jars/*" kafka.Kafka "$home/server.properties"
  fi
  wait_ready secure-kafka 120 answers
}

topic_tool() {
  local log=$SERVICES_STATE/log/secure-kafka-topic.$$.log
  short_java org.apache.kafka.tools.TopicCommand --bootstrap-server "$plain" "$@" \
    >"$log" 2>&1 || fail_with_log "$log" "the topic command failed"
  rm "$log"
}

fresh_topic() { # fresh_topic NAME PARTITIONS
  topic_tool --delete --if-exists --topic "$1"
  topic_tool --create --topic "$1" --partitions "$2" --replication-factor 1
  say "topic $1: created with $2 partitions"
}

case "${1:-} $#" in
  'start 1') locked secure-kafka start ;;
  'stop 1') locked secure-kafka stop_service secure-kafka ;;
  'status 1') report_status secure-kafka ;;
  'topic 3') fresh_topic "$2" "$3" ;;
  'certificates 1') echo "$certificates" ;;
  *) usage ;;
esac
