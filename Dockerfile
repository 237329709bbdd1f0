# syntax=docker/dockerfile:1
# The image: the program, the libraries it needs, authorities' certificates, and nothing else. No shell, no
# package manager, no root.
#
#   docker build -t tracegate:0.1.0 .
#   docker run --rm -p 5001:5001 -v tracegate-data:/var/lib/tracegate tracegate:0.1.0

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# What was compiled before is kept beside the layers, so that a change of ours compiles ours alone.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin tracegate \
    && strip --strip-debug -o /tracegate target/release/tracegate \
    && container/assemble.sh /tracegate /image

FROM scratch
COPY --from=build /image /
USER 65532:65532
WORKDIR /var/lib/tracegate
EXPOSE 5001
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/tracegate"]
CMD ["serve", "--config", "/etc/tracegate/tracegate.toml"]
