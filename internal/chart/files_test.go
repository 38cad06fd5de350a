package chart

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Helm reads nothing outside of a chart's folder, so that rules and dashboard are
// there once more: the very files.
func TestTheFilesOfTheChartAreThoseOfTheProject(t *testing.T) {
	for name, of := range map[string]string{
		"files/alerts.yaml":     "../../deploy/prometheus/alerts.yaml",
		"files/closeorder.json": "../../deploy/grafana/closeorder.json",
	} {
		want, err := os.ReadFile(of)
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, filepath.Join(chartDir, name), string(want))
		if got, err := os.ReadFile(filepath.Join(chartDir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not %s (%v)", name, of, err)
		}
	}
	all := values(t, variants["all of it"])
	objects, _, err := Render(loaded(t), all)
	if err != nil {
		t.Fatal(err)
	}
	rule, err := Find[monitoring.PrometheusRule](objects, "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := bytes.Count(text, []byte("- alert: ")); len(rule.Spec.Groups) == 0 || len(rule.Spec.Groups[0].Rules) != want || want < 10 {
		t.Errorf("the rules were rendered as %d groups, want one with %d alerts", len(rule.Spec.Groups), want)
	}
	dashboard, err := Find[core.ConfigMap](objects, "closeorder-dashboard")
	if err != nil {
		t.Fatal(err)
	}
	json, err := os.ReadFile("../../deploy/grafana/closeorder.json")
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(dashboard.Data["closeorder.json"]) != strings.TrimSpace(string(json)) {
		t.Error("the dashboard was rendered as something else")
	}
}

// helm lint, with the values of each variant.
func TestHelmLint(t *testing.T) {
	dir, err := filepath.Abs(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range variants {
		found := lint.RunAll(dir, values(t, text), Namespace)
		if found.ChartDir != dir {
			t.Errorf("%s: it looked at %q", name, found.ChartDir)
		}
		for _, m := range found.Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// It can find something: a name that is none.
func TestHelmLintFinds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closeorder")
	if err := os.CopyFS(dir, os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "templates", "bad.yaml"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := lint.RunAll(dir, values(t, least), Namespace); found.HighestSeverity < support.WarningSev {
		t.Errorf("nothing was found: %v", found.Messages)
	}
}

// The plain manifests are what the chart renders from the values beside them.
func TestThePlainManifestsAreThoseOfTheChart(t *testing.T) {
	const dir = "../../deploy/kubernetes"
	for name, only := range map[string][]string{
		"deployment":  nil,
		"statefulset": nil,
		"monitoring":  {"podmonitor.yaml", "prometheusrule.yaml", "dashboard.yaml", "scaledobject.yaml"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, "values-"+name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		objects, _, err := Render(loaded(t), values(t, string(text)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var out strings.Builder
		fmt.Fprintf(&out, "# Rendered from deploy/chart with values-%s.yaml: make manifests. Change those.\n", name)
		for _, o := range objects {
			if only == nil || slices.Contains(only, o.Template) {
				// Whoever applies these has no Helm.
				fmt.Fprintf(&out, "---\n%s", regexp.MustCompile(`(?m)^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n`).ReplaceAllString(o.Text, ""))
			}
		}
		golden.Check(t, filepath.Join(dir, name+".yaml"), out.String())
	}
	text, err := os.ReadFile(filepath.Join(dir, "secrets.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		o, err := decode("secrets.example.yaml", document)
		if err != nil {
			t.Fatal(err)
		}
		named[o.Name] = true
	}
	if !named["closeorder-merchants"] || !named["closeorder-kafka"] {
		t.Errorf("the example has the Secrets %v", named)
	}
}

// What holds for each pod, whatever the values.
func TestEveryPodIsBound(t *testing.T) {
	for name, text := range variants {
		objects, _, err := Render(loaded(t), values(t, text))
		if err != nil {
			t.Fatal(err)
		}
		p := podOf(t, objects)
		c, s := p.worker(), p.spec.SecurityContext
		grace := *p.spec.TerminationGracePeriodSeconds
		for sentence, ok := range map[string]bool{
			"it is not root":                        *s.RunAsNonRoot && *s.RunAsUser == 65532,
			"seccomp is on":                         s.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault,
			"it gains nothing":                      !*c.SecurityContext.AllowPrivilegeEscalation,
			"it writes nowhere":                     *c.SecurityContext.ReadOnlyRootFilesystem,
			"it has no capability":                  slices.Equal(c.SecurityContext.Capabilities.Drop, []core.Capability{"ALL"}),
			"it has no token":                       !*p.spec.AutomountServiceAccountToken,
			"no Service makes a variable in it":     !*p.spec.EnableServiceLinks,
			"its grace is 20 s over shutdown_grace": grace == int64(config.Default().ShutdownGrace.Seconds())+20,
			"its collector is as run has it":        hasVariable(c, "GOGC", "75") && hasVariable(c, "GOMEMLIMIT", "120795955"),
		} {
			if !ok {
				t.Errorf("%s: not so: %s", name, sentence)
			}
		}
		static := slices.ContainsFunc(c.Env, func(v core.EnvVar) bool {
			return v.Name == "CLOSEORDER_KAFKA_INSTANCE_ID" && v.ValueFrom.FieldRef.FieldPath == "metadata.name"
		})
		if set, err := Find[apps.StatefulSet](objects, ""); (err == nil) != static || err == nil && set.Spec.PodManagementPolicy != apps.ParallelPodManagement {
			t.Errorf("%s: a static id: %v", name, static)
		}
	}
	// The same number stands in the program.
	text, err := os.ReadFile("../../cmd/closeorder/memory.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("const collectAt = 75\n")) {
		t.Error("cmd/closeorder collects at another percentage than 75, which the chart sets as GOGC")
	}
}

func hasVariable(c core.Container, name, value string) bool {
	return slices.ContainsFunc(c.Env, func(v core.EnvVar) bool { return v.Name == name && v.Value == value })
}

// The backlog to scale on grows with what a worker can do.
func TestTheThresholdFollowsMaxInFlight(t *testing.T) {
	for text, want := range map[string]string{
		least + "autoscaling: {kind: keda}\n":                                     `threshold: "19200"`,
		least + "  max_in_flight: 20000\nautoscaling: {kind: keda}\n":             `threshold: "1500000"`,
		least + "  max_in_flight: \"64\"\nautoscaling: {kind: hpa}\n":             `averageValue: "4800"`,
		least + "autoscaling: {kind: keda, threshold: 1500000}\n":                 `threshold: "1500000"`,
		least + "autoscaling: {kind: keda, keda: {prometheus: {query: up == 1}}}": `query: "up == 1"`,
		least + "autoscaling: {kind: keda}\n# the query of this release":          `query: "sum(closeorder_due_now{namespace=\"payments\",app_kubernetes_io_instance=\"closeorder\"})"`,
	} {
		got, err := rendered(t, text, nil, nil)
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%v, want %s in\n%s", err, want, got)
		}
	}
}

// project reads a compose file as docker compose does, and as strictly.
func project(t *testing.T, name string) *types.Project {
	t.Helper()
	p, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "../../deploy/compose",
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join("../../deploy/compose", name)}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) { o.SetProjectName("closeorder", true) })
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// Compose files name commands that exist, images by digest, and a worker that is
// stopped as late as Kubernetes does.
func TestComposeFiles(t *testing.T) {
	ours := 0
	for _, name := range []string{"compose.yaml", "dev.yaml"} {
		p := project(t, name)
		for _, s := range p.Services {
			if !strings.HasPrefix(s.Image, "closeorder:") {
				if !digest.MatchString(s.Image) {
					t.Errorf("%s, %s: image %s has no digest", name, s.Name, s.Image)
				}
				continue
			}
			ours++
			if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
				if s.Name != "topics" {
					t.Errorf("%s, %s is not bound", name, s.Name)
				}
			}
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s, %s: port %s can be reached from other machines", name, s.Name, port.Published)
				}
			}
		}
	}
	if ours != 4 {
		t.Errorf("%d services are closeorder, want 4", ours)
	}
	worker := project(t, "compose.yaml").Services["worker"]
	cfg, err := config.Load(config.Source{File: "../../deploy/compose/config/closeorder.yaml", Env: []string{"CLOSEORDER_KAFKA_BROKERS=" + *worker.Environment["CLOSEORDER_KAFKA_BROKERS"]}})
	if err != nil {
		t.Fatal(err)
	}
	if grace := worker.StopGracePeriod; grace == nil || int64(*grace) < int64(cfg.ShutdownGrace)+11e9 {
		t.Errorf("stop_grace_period %v is too short for shutdown_grace %v", grace, cfg.ShutdownGrace)
	}
	if len(cfg.Warnings) > 0 || len(cfg.Merchants) != 2 || cfg.AdminAddr != ":9290" {
		t.Errorf("%+v", cfg)
	}
}

var digest = regexp.MustCompile(`^[^@]+:[^@:]+@sha256:[0-9a-f]{64}$`)

// What is built is built from the very same images, unless somebody says otherwise,
// and everything that is fetched can be fetched elsewhere.
func TestTheDockerfileIsPinnedAndCanBeBuiltElsewhere(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	arguments := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^ARG (\w+)=(.+)$`).FindAllStringSubmatch(string(text), -1) {
		arguments[m[1]] = m[2]
	}
	for _, name := range []string{"BUILD_IMAGE", "BASE_IMAGE"} {
		if !digest.MatchString(arguments[name]) {
			t.Errorf("%s is %q, and not pinned by digest", name, arguments[name])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)`).FindAllStringSubmatch(string(text), -1) {
		if m[1] != "$BUILD_IMAGE" && m[1] != "$BASE_IMAGE" {
			t.Errorf("FROM %s is no argument", m[1])
		}
	}
	for _, name := range []string{"GOPROXY", "GOSUMDB"} {
		if arguments[name] == "" || !strings.Contains(string(text), name+"=$"+name) {
			t.Errorf("%s is no argument that the build sees", name)
		}
	}
	if bytes.Contains(text, []byte("# syntax=")) {
		t.Error("a syntax line has the builder fetch a frontend from docker.io, whatever the arguments say")
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var need struct{ major, minor int }
	if _, err := fmt.Sscanf(regexp.MustCompile(`(?m)^go \d+\.\d+`).FindString(string(module)), "go %d.%d", &need.major, &need.minor); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("golang:%d.%d.", need.major, need.minor); !strings.Contains(arguments["BUILD_IMAGE"], want) {
		t.Errorf("go.mod asks for %s, and the build image is %s", want, arguments["BUILD_IMAGE"])
	}
}

// The chart and the program are of one version.
func TestTheChartNamesAVersionThatCanBeATag(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var meta struct{ Version, AppVersion string }
	if err := yaml.Unmarshal(text, &meta); err != nil {
		t.Fatal(err)
	}
	if meta.AppVersion != "v"+meta.Version || meta.Version == "" {
		t.Errorf("version %s, appVersion %s", meta.Version, meta.AppVersion)
	}
}
