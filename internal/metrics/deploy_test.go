package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/leftout"
	"go.yaml.in/yaml/v3"
)

// What people load into their Prometheus and their Grafana.
const (
	rulesFile     = "../../deploy/prometheus/alerts.yaml"
	rulesTestFile = "../../deploy/prometheus/alerts_test.yaml"
	configFile    = "../../deploy/prometheus/prometheus.yaml"
	dashboardFile = "../../deploy/grafana/closeorder.json"
	runbookFile   = "../../docs/operations.md"
)

// alertRule is a rule as Prometheus reads it.
type alertRule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string      `yaml:"name"`
			Rules []alertRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []alertRule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%s has only %d rules", rulesFile, len(all))
	}
	return all
}

// query is one of a panel of the dashboard.
type query struct{ panel, expr string }

func dashboardQueries(t *testing.T) []query {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []query
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, query{p.Title, target.Expr})
		}
	}
	if len(all) < 50 {
		t.Fatalf("%s has only %d queries", dashboardFile, len(all))
	}
	return all
}

// exported are the labels of each name that a worker shows; of a histogram those of
// its three kinds of series.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{"up": {}}
	for series := range scrape(t, busy(t)) {
		name, rest, _ := strings.Cut(series, "{")
		labels := all[name]
		for _, m := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(rest, -1) {
			if !slices.Contains(labels, m[1]) {
				labels = append(labels, m[1])
			}
		}
		all[name] = labels
	}
	for name := range all { // what the scrape itself adds
		all[name] = append(all[name], "job", "instance")
	}
	return all
}

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	ranges   = regexp.MustCompile(`\[[^\]]*\]`)
	grouping = regexp.MustCompile(`\b(?:by|without|ignoring|on)\s*\(([^)]*)\)`)
	selector = regexp.MustCompile(`([a-z_][a-z0-9_]*)\{([^}]*)\}`)
	word     = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*`)
	words    = []string{ // of the language
		"absent", "and", "by", "count", "deriv", "group_left", "histogram_quantile", "ignoring", "increase", "max", "min", "on", "or", "rate",
		"sum", "topk", "unless", "vector", "without",
	}
)

// mistakes says which names and labels of a query no worker shows.
func mistakes(expr string, known map[string][]string) (wrong []string) {
	rest := ranges.ReplaceAllString(quoted.ReplaceAllString(expr, `""`), "")
	var labels, asked []string // those of all metrics of the query, and those that it asks for
	for _, m := range grouping.FindAllStringSubmatch(rest, -1) {
		asked = append(asked, word.FindAllString(m[1], -1)...)
	}
	rest = grouping.ReplaceAllString(rest, " ")
	for _, m := range selector.FindAllStringSubmatch(rest, -1) {
		for _, label := range word.FindAllString(m[2], -1) {
			if !slices.Contains(known[m[1]], label) {
				wrong = append(wrong, m[1]+" has no label "+label)
			}
		}
	}
	rest = selector.ReplaceAllString(rest, "$1")
	metrics := 0
	for _, name := range word.FindAllString(rest, -1) {
		if slices.Contains(words, name) {
			continue
		}
		if _, is := known[name]; !is {
			wrong = append(wrong, "there is no "+name)
			continue
		}
		metrics++
		labels = append(labels, known[name]...)
	}
	for _, label := range asked {
		if !slices.Contains(labels, label) {
			wrong = append(wrong, "no metric of it has the label "+label)
		}
	}
	if metrics == 0 {
		wrong = append(wrong, "it asks for no metric")
	}
	return wrong
}

func TestMistakesOfQueriesAreSeen(t *testing.T) {
	known := exported(t)
	for sentence, tt := range map[string]struct {
		expr string
		want []string
	}{
		"a query that is right":               {`sum by (mch_id) (rate(closeorder_merchant_outcomes_total{job="closeorder",outcome="failed"}[5m])) > 0.5`, nil},
		"buckets of a histogram":              {`histogram_quantile(0.9, sum by (le, call) (rate(closeorder_gateway_call_duration_seconds_bucket[5m])))`, nil},
		"a name that nobody shows":            {`closeorder_no_such_thing > 0`, []string{"there is no closeorder_no_such_thing", "it asks for no metric"}},
		"a label that it has not":             {`closeorder_live{topic="a"}`, []string{"closeorder_live has no label topic"}},
		"a grouping by a label that none has": {`sum by (mch_id) (closeorder_live)`, []string{"no metric of it has the label mch_id"}},
		"a histogram without its kind":        {`rate(closeorder_outcome_delay_seconds[5m])`, []string{"there is no closeorder_outcome_delay_seconds", "it asks for no metric"}},
	} {
		if got := mistakes(tt.expr, known); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", sentence, got, tt.want)
		}
	}
}

// Rules and dashboard ask for what is there.
func TestQueriesAskForWhatIsExported(t *testing.T) {
	known := exported(t)
	for _, r := range alertRules(t) {
		for _, wrong := range mistakes(r.Expr, known) {
			t.Errorf("alert %s: %s: %s", r.Alert, wrong, r.Expr)
		}
	}
	shown := make(map[string]bool)
	for _, q := range dashboardQueries(t) {
		for _, wrong := range mistakes(q.expr, known) {
			t.Errorf("panel %q: %s: %s", q.panel, wrong, q.expr)
		}
		for _, name := range word.FindAllString(q.expr, -1) {
			shown[strings.TrimSuffix(name, "_bucket")] = true
		}
	}
	// What nobody looks at at 3 a.m. is not worth its series.
	for line := range strings.Lines(described(t, busy(t))) {
		name, _, is := strings.Cut(line, "{")
		if is && strings.HasPrefix(name, "closeorder_") && !shown[name] && !slices.Contains([]string{"closeorder_start_time_seconds", "closeorder_state_readable", "closeorder_stuck_reasons"}, name) {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// Whoever is woken finds out what to do.
func TestAlertsSayWhatToDo(t *testing.T) {
	runbook, err := os.ReadFile(runbookFile)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(rulesTestFile)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, r := range alertRules(t) {
		if seen[r.Alert] {
			t.Errorf("%s is there twice", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has severity %q", r.Alert, s)
		}
		if r.For == "" || r.Annotations["summary"] == "" || !strings.Contains(r.Annotations["description"], "First: ") {
			t.Errorf("%s lacks for, a summary, or what to do first", r.Alert)
		}
		if want := "https://github.com/closeorder/closeorder/blob/main/docs/operations.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		if !strings.Contains(string(runbook), "\n### "+r.Alert+"\n") {
			t.Errorf("docs/operations.md has no heading %s", r.Alert)
		}
		if !strings.Contains(string(tests), `{alertname="`+r.Alert+`"}`) {
			t.Errorf("%s has no test in which %s fires", rulesTestFile, r.Alert)
		}
	}
}

// promtool is that of Debian's prometheus.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	tool := installed(t, "promtool")
	if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// installed is the path of a program of Debian's package prometheus. Without it
// the test is left out, or fails where nothing may be left out.
func installed(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		leftout.Test(t, "there is no "+program+" to test with (apt-get install prometheus): "+err.Error(), "CLOSEORDER_REQUIRE_PROMETHEUS")
	}
	return path
}

func TestRulesFireAndResolve(t *testing.T)     { promtool(t, "test", "rules", rulesTestFile) }
func TestPrometheusTakesTheFiles(t *testing.T) { promtool(t, "check", "config", configFile) }
