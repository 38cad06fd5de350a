package consumer

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// tracing makes the spans of OpenTelemetry of what a worker does with Kafka, by the
// semantic conventions for messaging (v1.43.0, status: Development) and Kafka:
//
//	poll T     CLIENT    one fetch that has brought records; linked to those who sent them
//	process T  CONSUMER  one record, from when it is taken until what came of it is acknowledged;
//	                     or its partition is taken away; the child of who sent it, as each
//	                     record is processed by itself
//	send T     PRODUCER  one record of a decision; the child of process. An outcome carries it on
//	commit T   CLIENT    offsets of the requests topic, and of the retry topics with them
//
// Calls to the gateway are children of process too: whoever is told of them makes
// their spans, see Closer. A nil *tracing makes none, and costs a comparison.
type tracing struct {
	tracer trace.Tracer
	group  string
	client string
	topic  string // of the requests
}

func newTracing(cfg *Config) *tracing {
	if cfg.Tracer == nil {
		return nil
	}
	return &tracing{tracer: cfg.Tracer, group: cfg.Group, client: cfg.Kafka.ClientID, topic: cfg.Topics.Requests}
}

// traced is what a request that is traced has of it.
type traced struct {
	ctx     context.Context // of process, without an end
	process trace.Span
	outcome trace.Span // send, of the outcome on its way
	beside  trace.Span // the same of what is written beside it or in its place
}

// mostLinks bounds those of one poll.
const mostLinks = 64

// attributes of all spans of one operation on a topic.
func (s *tracing) attributes(operation string, kind attribute.KeyValue, topic string, more ...attribute.KeyValue) trace.SpanStartEventOption {
	return trace.WithAttributes(append([]attribute.KeyValue{
		semconv.MessagingSystemKafka, semconv.MessagingOperationName(operation), kind, semconv.MessagingDestinationName(topic), semconv.MessagingClientID(s.client),
	}, more...)...)
}

// longestText bounds what a span says in one place, in bytes: a key may have a
// megabyte.
const longestText = 512

// spanText is a text as OTLP takes it: in UTF-8. One that is not, say a key that is a
// number, would lose all spans that are exported with it.
func spanText(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), longestText)], "\uFFFD")
}

// now is the time where spans are made.
func (s *tracing) now() (t time.Time) {
	if s != nil {
		t = time.Now()
	}
	return t
}

// polled makes the span of a fetch that was waited for since began.
func (s *tracing) polled(topic string, partition int, began time.Time, records []kafka.Record) {
	if s == nil || len(records) == 0 {
		return
	}
	var links []trace.Link
	for i := range records {
		if parent, _ := records[i].Message.Header("traceparent"); len(parent) > 0 && len(links) < mostLinks {
			if remote := remoteOf(string(parent), nil); remote.IsSampled() {
				links = append(links, trace.Link{SpanContext: remote})
			}
		}
	}
	_, span := s.tracer.Start(context.Background(), "poll "+topic, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(began), trace.WithLinks(links...),
		s.attributes("poll", semconv.MessagingOperationTypeReceive, topic, semconv.MessagingConsumerGroupName(s.group),
			semconv.MessagingDestinationPartitionID(strconv.Itoa(partition)), semconv.MessagingBatchMessageCount(len(records))))
	span.End()
}

// remoteOf is the context of who sent a message.
func remoteOf(traceParent string, traceState []byte) trace.SpanContext {
	carrier := propagation.MapCarrier{"traceparent": traceParent}
	if len(traceState) > 0 {
		carrier["tracestate"] = string(traceState)
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// begin makes the span of r, which was decoded: it ends with done.
func (s *tracing) begin(r *request) {
	if s == nil {
		return
	}
	ctx := context.Background()
	if r.req.TraceParent != "" {
		state, _ := r.msg.Header("tracestate")
		ctx = trace.ContextWithRemoteSpanContext(ctx, remoteOf(r.req.TraceParent, state))
	}
	topic := r.partition.topic
	more := []attribute.KeyValue{
		semconv.MessagingConsumerGroupName(s.group), semconv.MessagingDestinationPartitionID(strconv.Itoa(r.partition.id)), semconv.MessagingKafkaOffset(int(r.offset)),
		semconv.MessagingMessageBodySize(len(r.msg.Value)), semconv.MessagingKafkaMessageTombstone(r.msg.Value == nil),
		attribute.String("closeorder.mch_id", spanText(r.req.MchID)), attribute.String("closeorder.out_trade_no", spanText(r.req.OutTradeNo)),
	}
	if r.msg.Key != nil {
		more = append(more, semconv.MessagingKafkaMessageKey(spanText(string(r.msg.Key[:min(len(r.msg.Key), longestText)]))))
	}
	if r.req.RequestID != "" {
		more = append(more, semconv.MessagingMessageID(spanText(r.req.RequestID)))
	}
	t := &traced{}
	t.ctx, t.process = s.tracer.Start(ctx, "process "+topic, trace.WithSpanKind(trace.SpanKindConsumer), s.attributes("process", semconv.MessagingOperationTypeProcess, topic, more...))
	r.traced = t
}

// under is ctx with the span of r in it, for what is done about r.
func (r *request) under(ctx context.Context) context.Context {
	if r.traced == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, r.traced.process)
}

// sends makes the spans of the records that a decision about r leads to.
func (s *tracing) sends(r *request, d *decision, topics *Topics) {
	if s == nil || r.traced == nil {
		return
	}
	send := func(topic string) trace.Span {
		_, span := s.tracer.Start(r.traced.ctx, "send "+topic, trace.WithSpanKind(trace.SpanKindProducer), s.attributes("send", semconv.MessagingOperationTypeSend, topic))
		return span
	}
	r.traced.outcome, r.traced.beside = nil, nil
	switch d.next {
	case retryLater:
		r.traced.beside = send(d.tier.Topic)
	case deadLetter:
		r.traced.beside = send(topics.DeadLetters)
		fallthrough
	default:
		r.traced.outcome = send(topics.Outcomes)
	}
	r.traced.process.SetAttributes(attribute.String("closeorder.code", spanText(d.verdict.Code)), attribute.Int("closeorder.calls", r.calls))
	if d.next == deadLetter {
		r.traced.process.SetAttributes(semconv.ErrorTypeKey.String(spanText(d.verdict.Code)))
		r.traced.process.SetStatus(codes.Error, spanText(d.verdict.Message))
	}
}

// traceParent is what the outcome of r carries on: the span that sends it, or what
// came with the request.
func (r *request) traceParent() string {
	if r.traced == nil || r.traced.outcome == nil {
		return r.req.TraceParent
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), r.traced.outcome), carrier)
	if parent := carrier["traceparent"]; parent != "" {
		return parent
	}
	return r.req.TraceParent
}

// spanOf is the span that sends a record of r, nil where there is none.
func (r *request) spanOf(of what) trace.Span {
	switch {
	case r.traced == nil:
		return nil
	case of == anOutcome:
		return r.traced.outcome
	}
	return r.traced.beside
}

// sent ends the span of a record: it is acknowledged, or err says why it never
// will be.
func sent(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.SetStatus(codes.Error, spanText(err.Error()))
	}
	span.End()
}

// done ends the span of r: what came of it is acknowledged, or err says why
// somebody else serves it. Only the first time counts.
func (r *request) done(err error) {
	if r.traced == nil {
		return
	}
	sent(r.traced.process, err)
}

// committed makes the span of a commit that was begun at a time.
func (s *tracing) committed(began time.Time, err error) {
	if s == nil {
		return
	}
	_, span := s.tracer.Start(context.Background(), "commit "+s.topic, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(began),
		s.attributes("commit", semconv.MessagingOperationTypeSettle, s.topic, semconv.MessagingConsumerGroupName(s.group)))
	sent(span, err)
}

// ids are the trace and span of r for its log lines: of its own span or, without
// one, of who sent it. Empty where there is none.
func (r *request) ids() (traceID, spanID string) {
	var of trace.SpanContext
	switch {
	case r.traced != nil:
		of = r.traced.process.SpanContext()
	case r.req.TraceParent != "":
		of = remoteOf(r.req.TraceParent, nil)
	}
	if !of.IsValid() {
		return "", ""
	}
	if traceID = of.TraceID().String(); r.traced != nil {
		spanID = of.SpanID().String()
	}
	return traceID, spanID
}
