# Each is an argument, for builds behind another registry or another module proxy:
#   docker build --build-arg BUILD_IMAGE=mirror.example.cn/library/golang:1.26.8 \
#                --build-arg BASE_IMAGE=mirror.example.cn/distroless/static-debian12:nonroot \
#                --build-arg GOPROXY=https://goproxy.cn,direct .
# The digests are those of the lists of all platforms: "docker buildx imagetools
# inspect IMAGE" shows the present one of a tag.
ARG BUILD_IMAGE=docker.io/library/golang:1.26.8@sha256:0f063af2d465d8dcae54cce04278ada488b96f77b42449c8d071e47d016cc65a
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot@sha256:afa5c872c891853ca7fcf1f12c3edb23f7eeef36189728842dd51042ff57f7ab

FROM --platform=$BUILDPLATFORM $BUILD_IMAGE AS build
ARG TARGETOS TARGETARCH
# Where modules come from, and who vouches for them beside go.sum.
ARG GOPROXY=https://proxy.golang.org,direct
ARG GOSUMDB=sum.golang.org
ENV GOPROXY=$GOPROXY GOSUMDB=$GOSUMDB
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
# By number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
# Exec form: closeorder is process 1 and gets SIGTERM itself.
ENTRYPOINT ["/closeorder"]
CMD ["run"]
