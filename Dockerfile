# The binary of Weir on a small Debian. See docker-compose.yml for a whole stack around it.

FROM rust:1.95.0-bookworm AS build
WORKDIR /weir
COPY . .
RUN cargo build --release --locked --bin weir \
    && strip target/release/weir

FROM debian:12-slim
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
