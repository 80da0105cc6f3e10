# The binary of Weir on a small Debian. See docker-compose.yml for a whole stack around it.

FROM rust:1.95.0-bookworm AS build
WORKDIR /weir
COPY . .
RUN apt-get update -q \
    && apt-get install -q -y --no-install-recommends libcurl4-openssl-dev libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
RUN cargo build --release --locked --bin weir \
    && strip target/release/weir

FROM debian:12-slim
# For TLS and tokens of Kafka; ca-certificates are the authorities that are trusted.
RUN apt-get update -q \
    && apt-get install -q -y --no-install-recommends ca-certificates libcurl4 libssl3 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 weir \
    && useradd --uid 10001 --gid weir --no-create-home --shell /usr/sbin/nologin weir \
    && mkdir /lake \
    && chown weir:weir /lake
COPY --from=build /weir/target/release/weir /usr/local/bin/weir
COPY deploy/weir.toml /etc/weir/weir.toml
USER weir
VOLUME /lake
EXPOSE 8080
ENTRYPOINT ["weir"]
CMD ["run", "--config", "/etc/weir/weir.toml"]
