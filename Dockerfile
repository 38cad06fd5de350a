# syntax=docker/dockerfile:1

# Both base images are tags. To build from the very same ones again, pass their
# digests, as "docker buildx imagetools inspect IMAGE" shows them:
#   docker build --build-arg BUILD_IMAGE=golang:1.26@sha256:... \
#                --build-arg BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot@sha256:...
ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM --platform=$BUILDPLATFORM $BUILD_IMAGE AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download
COPY . .
# Go notes the version and the revision in the binary: it reads them from .git.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags='-s -w' -o /closeorder ./cmd/closeorder

# CA certificates, time zones and a user, nothing else: no shell, no libc.
FROM $BASE_IMAGE
ARG REVISION
LABEL org.opencontainers.image.title="closeorder" \
      org.opencontainers.image.description="Turns every request to close a WeChat Pay order into exactly one trustworthy answer on a Kafka topic" \
      org.opencontainers.image.source="https://github.com/closeorder/closeorder" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision=$REVISION
COPY --from=build /closeorder /closeorder
USER nonroot:nonroot
# Exec form: closeorder is process 1 and gets SIGTERM itself.
ENTRYPOINT ["/closeorder"]
CMD ["run"]
