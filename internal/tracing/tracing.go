// Package tracing sets up OpenTelemetry from its standard environment variables,
// and makes the spans of calls to the gateway. consumer makes those of Kafka.
// Without a variable that asks for it there is nothing: no goroutine, no
// connection, no span.
//
//	OTEL_* --Open--> Tracer --> consumer.Config; Observe --> closer.Config
//
// The variables are those of the OpenTelemetry specification (Environment Variable
// Specification, and Protocol Exporter); the SDK reads them by itself from the
// environment of the process. What it would pass over in silence is refused here.
package tracing

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// scope names what makes the spans.
const scope = "github.com/closeorder/closeorder"

// Tracing is where spans go. A nil *Tracing has none. Make one with [Open].
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	endpoint string
}

// Config is what a Tracing is made of.
type Config struct {
	// Getenv reads a variable: os.Getenv. It says whether there are to be spans
	// and what is wrong with the variables; the SDK reads the process's own.
	Getenv func(string) string
	// Version is that of closeorder.
	Version string
	// Log is told of what cannot be exported, once a minute.
	Log logrus.FieldLogger
}

// Open returns nil where no variable asks for spans: they are made with
// OTEL_TRACES_EXPORTER=otlp, or where that is not set with
// OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT. The error
// names the variable that is wrong, and never the value of one that may hold a
// secret. Nothing is dialled before there is a span.
func Open(ctx context.Context, cfg Config) (*Tracing, error) {
	v := variables{cfg.Getenv}
	on, err := v.check()
	if err != nil || !on {
		return nil, err
	}
	var exporter *otlptrace.Exporter
	switch v.protocol() {
	case grpc:
		exporter, err = otlptracegrpc.New(ctx)
	default:
		exporter, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_...: %w", err)
	}
	res, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("closeorder"), semconv.ServiceVersion(cfg.Version)),
		resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	told := &told{log: cfg.Log}
	otel.SetErrorHandler(told)
	t := &Tracing{provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res)), endpoint: v.endpoint()}
	t.tracer = t.provider.Tracer(scope, trace.WithInstrumentationVersion(cfg.Version), trace.WithSchemaURL(semconv.SchemaURL))
	return t, nil
}

// Tracer is for consumer.Config; nil of a nil Tracing.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// Endpoint is where spans go, for people.
func (t *Tracing) Endpoint() string { return t.endpoint }

// Close exports what is left, until ctx ends.
func (t *Tracing) Close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // its errors are told of
	}
}

// Observe makes the span of one call to the gateway, by the semantic conventions
// for HTTP clients (v1.43.0, stable): the child of the one in ctx. It is a
// [closer.Observer], for a Tracing that is not nil.
func (t *Tracing) Observe(ctx context.Context, a closer.Attempt) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return
	}
	attributes := []attribute.KeyValue{
		semconv.HTTPRequestMethodPost, attribute.String("closeorder.call", string(a.Call)), attribute.String("closeorder.mch_id", spanText(a.Order.MchID)),
		attribute.String("closeorder.out_trade_no", spanText(a.Order.OutTradeNo)), attribute.String("closeorder.code", spanText(a.Code)), attribute.String("closeorder.class", fmt.Sprint(a.Class)),
	}
	if u, err := url.Parse(a.Host); err == nil {
		attributes = append(attributes, semconv.ServerAddress(u.Hostname()), semconv.ServerPort(portOf(u)), semconv.URLFull(a.Host+pathOf[a.Call]))
	}
	if a.Status != 0 {
		attributes = append(attributes, semconv.HTTPResponseStatusCode(a.Status))
	}
	if a.Number > 1 {
		attributes = append(attributes, semconv.HTTPRequestResendCount(a.Number-1))
	}
	if a.Failure != "" {
		attributes = append(attributes, semconv.ErrorTypeKey.String(string(a.Failure)))
	}
	_, span := t.tracer.Start(ctx, "POST", trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(a.Start), trace.WithAttributes(attributes...))
	if a.Failure != "" {
		span.SetStatus(codes.Error, spanText(a.Reason))
	}
	span.End(trace.WithTimestamp(a.Start.Add(a.Duration)))
}

// spanText is a text as spans have it, see consumer: in UTF-8, and not longer than 512
// bytes.
func spanText(s string) string { return strings.ToValidUTF8(s[:min(len(s), 512)], "\uFFFD") }

// pathOf is where a call goes at each host.
var pathOf = map[closer.Call]string{closer.CallClose: "/pay/closeorder", closer.CallQuery: "/pay/orderquery"}

func portOf(u *url.URL) int {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// The protocols of OTLP that there are.
const (
	protobuf = "http/protobuf"
	grpc     = "grpc"
)

// variables are those of the environment.
type variables struct{ get func(string) string }

func (v variables) first(names ...string) string {
	for _, name := range names {
		if value := v.get(name); value != "" {
			return value
		}
	}
	return ""
}

func (v variables) protocol() string {
	if p := v.first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" {
		return p
	}
	return protobuf
}

// endpoint is where spans go, without what stands before an @.
func (v variables) endpoint() string {
	u, err := url.Parse(v.first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"))
	if err != nil || u.Host == "" {
		return "localhost, by " + v.protocol()
	}
	return u.Host + ", by " + v.protocol()
}

// check says whether spans are to be made, or what is wrong.
func (v variables) check() (on bool, err error) {
	if off := v.get("OTEL_SDK_DISABLED"); strings.EqualFold(off, "true") {
		return false, nil
	}
	endpoints := []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}
	switch exporter := v.get("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "otlp":
	case "":
		if v.first(endpoints...) == "" {
			return false, nil
		}
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q, and closeorder knows otlp and none", exporter)
	}
	if p := v.protocol(); p != protobuf && p != grpc {
		return false, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q, and closeorder knows %s and %s", p, protobuf, grpc)
	}
	for _, name := range endpoints {
		if value := v.get(name); value != "" {
			if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return false, fmt.Errorf("%s is no URL such as http://localhost:4318", name)
			}
		}
	}
	samplers := []string{"", "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}
	sampler := v.get("OTEL_TRACES_SAMPLER")
	if !slices.Contains(samplers, sampler) {
		return false, fmt.Errorf("OTEL_TRACES_SAMPLER is %q, want one of %s", sampler, strings.Join(samplers[1:], ", "))
	}
	if arg := v.get("OTEL_TRACES_SAMPLER_ARG"); strings.HasSuffix(sampler, "traceidratio") && arg != "" {
		if ratio, err := strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			return false, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is %q, want a number from 0 to 1", arg)
		}
	}
	for p := range strings.SplitSeq(v.get("OTEL_PROPAGATORS"), ",") {
		if p = strings.TrimSpace(p); !slices.Contains([]string{"", "tracecontext", "baggage"}, p) {
			return false, fmt.Errorf("OTEL_PROPAGATORS is %q, and closeorder carries tracecontext alone: the header traceparent", p)
		}
	}
	for _, name := range []string{"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"} {
		if value := v.get(name); value != "" {
			if n, err := strconv.Atoi(value); err != nil || n < 0 {
				return false, fmt.Errorf("%s is %q, want a whole number", name, value)
			}
		}
	}
	return true, nil
}

// told tells of what the SDK cannot do, once a minute. It is safe for concurrent
// use.
type told struct {
	log logrus.FieldLogger

	mu   sync.Mutex
	last time.Time
	more int
}

// Handle implements otel.ErrorHandler.
func (t *told) Handle(err error) {
	t.mu.Lock()
	if t.more++; time.Since(t.last) < time.Minute {
		t.mu.Unlock()
		return
	}
	count := t.more
	t.last, t.more = time.Now(), 0
	t.mu.Unlock()
	t.log.WithError(err).WithField("count", count).
		Warn("spans are not exported: requests are served as ever; look at OTEL_EXPORTER_OTLP_ENDPOINT and at the collector there; told once a minute")
}
