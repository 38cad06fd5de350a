#!/usr/bin/env bash
# Expected: OTEL_EXPORTER_OTLP_ENDPOINT=10.0.0.5:4317, the form of gRPC, sends spans to 10.0.0.5, or the program says at start that it
#   will not. The specification asks an exporter for gRPC to take any form that its gRPC client takes.
# Happens: Go's exporter for gRPC takes name:port. With address:port New returns no error, and the spans go to the default,
#   localhost:4317: a collector that runs there gets them, else they are lost. The exporter for http, which may
#   ask for a scheme, does not: it does the same with address:port, and posts to no host with name:port.
# Version: otlptracegrpc and otlptracehttp 1.47.0.
# Seen (where a span is sent; New never returns an error):
#   grpc, http://127.0.0.1:14317: port 14317
#   grpc, localhost:14317: port 14317
#   grpc, 127.0.0.1:14317: port 4317
#   http, http://127.0.0.1:14318: port 14318
#   http, localhost:14318: no Host in request URL
#   http, 127.0.0.1:14318: port 4318
# Why it matters: a worker with tracing set up shows no trace, and its start looks right. The one word of it goes to the SDK's own log
#   ("parse url"). Write the scheme, always; check the variable before the exporter is made.
# Sources: OpenTelemetry specification, protocol/exporter.md, "Configuration Options" (endpoint, OTLP/gRPC); opentelemetry-go,
#   exporters/otlp/otlptrace/*/internal/envconfig; github.com/open-telemetry/opentelemetry-python/issues/1801 is its like in Python.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module x

go 1.26

require (
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc v1.47.0
	go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp v1.47.0
	go.opentelemetry.io/otel/sdk v1.47.0
)
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// send says where one span goes: the port that is dialled. No connection is made.
func send(endpoint string, start func(context.Context, func(string)) (*otlptrace.Exporter, error)) string {
	must(os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var once sync.Once
	dialled := ""
	exporter, err := start(ctx, func(addr string) {
		once.Do(func() { dialled = addr })
		cancel()
	})
	must(err)
	err = exporter.ExportSpans(ctx, tracetest.SpanStubs{{Name: "s"}}.Snapshots())
	if dialled == "" {
		return err.Error()[strings.LastIndex(err.Error(), ": ")+2:]
	}
	_, port, err := net.SplitHostPort(dialled) // what localhost resolves to depends on the machine
	must(err)
	return "port " + port
}

var errNone = errors.New("nobody is there")

func main() {
	for _, endpoint := range []string{"http://127.0.0.1:14317", "localhost:14317", "127.0.0.1:14317"} {
		fmt.Printf("grpc, %s: %s\n", endpoint, send(endpoint, func(ctx context.Context, dialled func(string)) (*otlptrace.Exporter, error) {
			return otlptracegrpc.New(ctx, otlptracegrpc.WithDialOption(grpc.WithNoProxy(), grpc.WithContextDialer(func(_ context.Context, addr string) (net.Conn, error) {
				dialled(addr)
				return nil, errNone
			})))
		}))
	}
	for _, endpoint := range []string{"http://127.0.0.1:14318", "localhost:14318", "127.0.0.1:14318"} {
		fmt.Printf("http, %s: %s\n", endpoint, send(endpoint, func(ctx context.Context, dialled func(string)) (*otlptrace.Exporter, error) {
			return otlptracehttp.New(ctx, otlptracehttp.WithHTTPClient(&http.Client{Transport: &http.Transport{
				DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
					dialled(addr)
					return nil, errNone
				},
			}}))
		}))
	}
}
GO
go mod tidy >log 2>&1 || { cat log; exit 1; }
timeout 120 go run . >seen 2>log || { cat log; exit 1; }
cat >want <<'WANT'
grpc, http://127.0.0.1:14317: port 14317
grpc, localhost:14317: port 14317
grpc, 127.0.0.1:14317: port 4317
http, http://127.0.0.1:14318: port 14318
http, localhost:14318: no Host in request URL
http, 127.0.0.1:14318: port 4318
WANT
echo "versions: otlptracegrpc and otlptracehttp 1.47.0"
echo "expected: the port of the variable, or an error of New"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
