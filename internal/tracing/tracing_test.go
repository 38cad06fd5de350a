package tracing_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/tracing"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kgo"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver takes spans by OTLP over HTTP.
type receiver struct {
	mu       sync.Mutex
	spans    []*otlp.Span
	resource map[string]string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(req.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	raw, err := io.ReadAll(body)
	var in collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(raw, &in)
	}
	if err != nil || req.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(req.URL.Path, err), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resource = make(map[string]string)
	for _, of := range in.ResourceSpans {
		for _, a := range of.Resource.Attributes {
			r.resource[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range of.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
	out, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

// tree prints the spans of one trace as a tree under the span parent, without
// times and ids.
func (r *receiver) tree(trace, parent, indent string) string {
	var lines []string
	for _, s := range r.spans {
		if hex.EncodeToString(s.TraceId) != trace || hex.EncodeToString(s.ParentSpanId) != parent || trace == trace2 && s.Name == "POST" {
			continue // of the one that is retried there are as many as time allows for
		}
		text := fmt.Sprintf("%s%s %s", indent, strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"), s.Name)
		if s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR {
			text += " ERROR"
		}
		text += "\n"
		for _, a := range s.Attributes {
			if a.Key != "server.port" && a.Key != "closeorder.calls" && a.Key != "messaging.message.body.size" && a.Key != "messaging.destination.partition.id" && a.Key != "messaging.kafka.offset" {
				text += fmt.Sprintf("%s  %s=%s\n", indent, a.Key, valueOf(a.Value))
			}
		}
		lines = append(lines, text+r.tree(trace, hex.EncodeToString(s.SpanId), indent+"    "))
	}
	slices.Sort(lines) // they come in the order in which they ended
	return strings.Join(lines, "")
}

func valueOf(v *common.AnyValue) string {
	switch v := v.Value.(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *common.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	}
	return v.String()
}

// served runs a worker whose spans go by t's variables until n outcomes of what
// is sent are there, and returns those by out_trade_no.
func served(t *testing.T, send ...*kgo.Record) map[string]events.Outcome {
	t.Helper()
	sim, err := gatewaysim.New(gatewaysim.Config{Merchants: gatewaysim.DefaultMerchants()})
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(sim)
	defer gateway.Close()
	cfg := config.Default()
	cfg.Topics.RetryDelays = []time.Duration{time.Second}
	kafka, err := broker.Start(broker.Config{Topics: topicsOf(cfg.Topics)})
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	cfg.Kafka.Brokers, cfg.Gateway.URLs = kafka.Addrs(), []string{gateway.URL}
	cfg.Gateway.Budget = 300 * time.Millisecond
	log, said := test.NewNullLogger()
	spans, err := tracing.Open(t.Context(), tracing.Config{Getenv: getenv, Version: "v1", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	deps := worker.Deps{Log: log, Tracer: spans.Tracer()}
	if spans != nil {
		deps.Observe = spans.Observe
	}
	cfg.Merchants = merchantsOf(t)
	w, err := worker.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- w.Run(ctx) }()
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addr()), kgo.ConsumeTopics(cfg.Topics.Outcomes))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), send...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]events.Outcome)
	for len(all) < len(send) {
		fetched := client.PollFetches(t.Context())
		if err := fetched.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetched.Records() {
			m := events.Message{Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, events.Header{Key: h.Key, Value: h.Value})
			}
			o, err := events.DecodeOutcome(m)
			if err != nil {
				t.Fatal(err)
			}
			all[o.OutTradeNo] = o
		}
	}
	cancel()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	soon, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	spans.Close(soon)
	for _, entry := range said.AllEntries() {
		if entry.Level <= logrus.WarnLevel {
			t.Log(entry.String())
		}
	}
	return all
}

// request is a close request as a service sends it whose span is parent.
func request(order, parent string) *kgo.Record {
	return &kgo.Record{
		Topic: "closeorder.requests", Key: []byte(order), Value: fmt.Appendf(nil, `{"mch_id":"1900000109","out_trade_no":%q,"request_id":"r-%[1]s"}`, order),
		Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte(parent)}},
	}
}

const (
	trace1, trace2, trace3, trace4 = "4bf92f3577b34da6a3ce929d0e0e4736", "5bf92f3577b34da6a3ce929d0e0e4736", "6bf92f3577b34da6a3ce929d0e0e4736", "7bf92f3577b34da6a3ce929d0e0e4736"
	sender                         = "00f067aa0ba902b7"
)

func TestOneTraceGoesFromAProducersSpanToTheOutcome(t *testing.T) {
	r := new(receiver)
	server := httptest.NewServer(r)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	outcomes := served(t,
		request("T1", "00-"+trace1+"-"+sender+"-01"),
		request("SYSERR2", "00-"+trace2+"-"+sender+"-01"), // waits in a retry topic, and fails
		request("DEAD3", "00-"+trace3+"-"+sender+"-01"),   // fails at once
		request("T4", "00-"+trace4+"-"+sender+"-00"),      // of a trace that is not sampled
	)
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, trace := range map[string]string{"closed": trace1, "retried": trace2, "dead": trace3} {
		got := r.tree(trace, sender, "")
		got = strings.ReplaceAll(got, server.URL, "http://collector")
		golden.Check(t, "testdata/"+name+".txt", portless(got))
	}
	if got := r.tree(trace4, sender, ""); got != "" {
		t.Errorf("spans of what is not sampled:\n%s", got)
	}
	if r.resource["service.name"] != "closeorder" || r.resource["service.version"] != "v1" || r.resource["deployment.environment.name"] != "test" {
		t.Errorf("resource %v", r.resource)
	}
	for order, trace := range map[string]string{"T1": trace1, "SYSERR2": trace2, "DEAD3": trace3, "T4": trace4} {
		parent := strings.Split(outcomes[order].TraceParent, "-")
		if len(parent) != 4 || parent[1] != trace || parent[2] == sender && order != "T4" {
			t.Errorf("the outcome of %s carries on %q", order, outcomes[order].TraceParent)
			continue
		}
		sends := slices.ContainsFunc(r.spans, func(s *otlp.Span) bool {
			return hex.EncodeToString(s.SpanId) == parent[2] && s.Name == "send closeorder.outcomes"
		})
		if sends != (order != "T4") {
			t.Errorf("the outcome of %s names the span that sent it: %v", order, sends)
		}
	}
	var names []string
	linked := false
	for _, s := range r.spans {
		names = append(names, strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")+" "+s.Name)
		linked = linked || s.Name == "poll closeorder.requests" && len(s.Links) > 0
	}
	for _, want := range []string{"CLIENT poll closeorder.requests", "CLIENT poll closeorder.retries.1s", "CLIENT commit closeorder.requests"} {
		if !slices.Contains(names, want) {
			t.Errorf("no span %s among %v", want, names)
		}
	}
	if !linked {
		t.Error("no poll is linked to who sent what it has brought")
	}
}

// Keys are any bytes. OTLP takes UTF-8 alone, and loses what is sent with what is
// not.
func TestAKeyThatIsNoTextLosesNoSpans(t *testing.T) {
	for sentence, key := range map[string][]byte{"a number": {0, 0, 0xff, 0xfe}, "long": bytes.Repeat([]byte("\u5355"), 100_000)} {
		t.Run(sentence, func(t *testing.T) {
			r := new(receiver)
			server := httptest.NewServer(r)
			defer server.Close()
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
			odd := request("T1", "00-"+trace1+"-"+sender+"-01")
			odd.Key = key
			served(t, odd)
			r.mu.Lock()
			defer r.mu.Unlock()
			processed := false
			for _, s := range r.spans {
				for _, a := range s.Attributes {
					if text := valueOf(a.Value); len(text) > 1024 {
						t.Errorf("%s of %s has %d bytes", a.Key, s.Name, len(text))
					}
				}
				processed = processed || s.Name == "process closeorder.requests"
			}
			if !processed {
				t.Errorf("%d spans, and that of the request is not among them", len(r.spans))
			}
		})
	}
}

func TestACollectorThatIsAwayHoldsUpNobody(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	if got := served(t, request("T1", "00-"+trace1+"-"+sender+"-01")); got["T1"].Result != events.Closed {
		t.Errorf("%+v", got)
	}
}

func TestWithoutSpansATraceIsCarriedOn(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	parent := "00-" + trace1 + "-" + sender + "-01"
	if got := served(t, request("T1", parent)); got["T1"].TraceParent != parent {
		t.Errorf("the outcome carries on %q", got["T1"].TraceParent)
	}
}

func TestVariablesThatAreWrongAreNamed(t *testing.T) {
	for sentence, c := range map[string]struct {
		env  map[string]string
		want string // in the error; empty for none
		on   bool
	}{
		"nothing is set":               {nil, "", false},
		"an endpoint":                  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "", true},
		"an endpoint of traces":        {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/x"}, "", true},
		"the exporter alone":           {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "", true},
		"an endpoint and none":         {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "", false},
		"all is disabled":              {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, "", false},
		"by grpc":                      {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", true},
		"another exporter":             {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER", false},
		"another protocol":             {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL", false},
		"an endpoint without a scheme": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT", false},
		"a sampler that is none":       {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "sometimes"}, "OTEL_TRACES_SAMPLER", false},
		"a ratio that is none":         {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "10%"}, "OTEL_TRACES_SAMPLER_ARG", false},
		"another propagator":           {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_PROPAGATORS": "tracecontext,b3"}, "OTEL_PROPAGATORS", false},
		"a number that is none":        {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}, "OTEL_BSP_MAX_QUEUE_SIZE", false},
		"a secret in an endpoint":      {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "user:s3cret@collector"}, "OTEL_EXPORTER_OTLP_ENDPOINT", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			log, _ := test.NewNullLogger()
			spans, err := tracing.Open(t.Context(), tracing.Config{Getenv: func(name string) string { return c.env[name] }, Log: log})
			switch {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)), err != nil && strings.Contains(err.Error(), "s3cret"):
				t.Errorf("error %v, want one of %q", err, c.want)
			case (spans != nil) != c.on || (spans.Tracer() != nil) != c.on:
				t.Errorf("on: %v, want %v", spans != nil, c.on)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			spans.Close(ctx)
		})
	}
}
