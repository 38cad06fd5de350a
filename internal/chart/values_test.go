package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/golden"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"sigs.k8s.io/yaml"
)

const chartDir = "../../deploy/chart"

var load = sync.OnceValues(func() (*chartv2.Chart, error) { return Load(chartDir) })

// loaded is the chart, read once: rendering changes nothing of it.
func loaded(t *testing.T) *chartv2.Chart {
	t.Helper()
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// values are those of a test, as a file of them.
func values(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// least is what must be set.
const least = `
config:
  kafka: {brokers: ["kafka-0.kafka:9093"]}
  merchants_file: {secretKeyRef: {name: closeorder-merchants, key: merchants.yaml}}
`

// variants are bases to try each value on: what is off in one is on in another.
var variants = map[string]string{
	"the least":     least,
	"a StatefulSet": least + "mode: StatefulSet\n",
	"all of it": least + `
topics: {create: true}
serviceAccount: {create: true}
monitoring:
  podMonitor: {enabled: true}
  prometheusRule: {enabled: true}
  dashboard: {enabled: true}
networkPolicy: {enabled: true}
autoscaling: {kind: keda}
`,
	"a ServiceMonitor and a HorizontalPodAutoscaler": least + `
monitoring:
  serviceMonitor: {enabled: true}
autoscaling: {kind: hpa}
`,
}

// rendered is all that is rendered, as one text.
func rendered(t *testing.T, base string, path []string, value any) (string, error) {
	t.Helper()
	all := values(t, base)
	if path != nil {
		set(all, path, value)
	}
	objects, notes, err := Render(loaded(t), all)
	var out strings.Builder
	for _, o := range objects {
		text := o.Text
		if o.Template == "dashboard.yaml" || o.Template == "prometheusrule.yaml" {
			// What is in them is a file as it is: TestTheFilesOfTheChartAreThoseOfTheProject.
			text, _, _ = strings.Cut(text, "\ndata:")
			text, _, _ = strings.Cut(text, "\nspec:")
			text += "\n"
		}
		fmt.Fprintf(&out, "---\n# %s\n%s", o.Template, text)
	}
	return out.String() + notes, err
}

func set(all map[string]any, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		next, ok := all[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			all[name] = next
		}
		all = next
	}
	all[path[len(path)-1]] = value
}

// leaf is one value of the schema.
type leaf struct {
	path   []string
	schema map[string]any
}

func (l leaf) String() string { return strings.Join(l.path, ".") }

// leaves are all values but those of config, as the schema has them.
func leaves(t *testing.T) []leaf {
	t.Helper()
	var out []leaf
	var walk func(path []string, schema map[string]any)
	walk = func(path []string, schema map[string]any) {
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			out = append(out, leaf{path, schema})
			return
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if len(path) == 0 && (name == "config" || name == "global") {
				continue
			}
			walk(append(slices.Clone(path), name), properties[name].(map[string]any))
		}
	}
	walk(nil, readSchema(t))
	if len(out) < 50 {
		t.Fatalf("only %d values in the schema", len(out))
	}
	return out
}

func readSchema(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// What the program can be set to can be set in values, under the same name and
// with the same words.
func TestTheSchemaHasEverySetting(t *testing.T) {
	schema := readSchema(t)
	schema["properties"].(map[string]any)["config"] = SettingsSchema()
	schema["$defs"] = map[string]any{"reference": Reference()}
	require(schema)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join(chartDir, "values.schema.json"), text.String())
}

// require has each value there that templates do not look for before they use it:
// null takes it away, and without this would render as nothing.
func require(schema map[string]any) {
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return
	}
	var required []any
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		p := properties[name].(map[string]any)
		if name == "config" || name == "global" {
			continue
		}
		require(p)
		_, grouped := p["properties"]
		switch kind := p["type"].(type) {
		case string:
			if grouped || kind != "object" && kind != "array" {
				required = append(required, name)
			}
		case []any:
			if !slices.Contains(kind, any("null")) {
				required = append(required, name)
			}
		}
	}
	if required != nil {
		schema["required"] = required
	}
}

// The table of README.md is made of schema and defaults, which have the same values.
func TestTheReadmeHasEveryValue(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defaults := values(t, string(text))
	var rows strings.Builder
	rows.WriteString("| value | default | what |\n|---|---|---|\n")
	known := map[string]bool{"config": true}
	for _, l := range leaves(t) {
		at := any(defaults)
		for i, name := range l.path {
			known[strings.Join(l.path[:i+1], ".")] = true
			group, found := at.(map[string]any)
			if found {
				at, found = group[name]
			}
			if !found {
				t.Errorf("%s is in the schema and not in values.yaml", l)
				break
			}
		}
		what, _ := l.schema["description"].(string)
		if what == "" {
			t.Errorf("%s has no description", l)
		}
		if l.schema["examples"] == nil {
			t.Errorf("%s has no example, with which it is tried", l)
		}
		value, err := json.Marshal(at)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&rows, "| `%s` | `%s` | %s |\n", l, value, strings.ReplaceAll(what, "|", `\|`))
	}
	var look func(path string, at map[string]any)
	look = func(path string, at map[string]any) {
		for name, value := range at {
			full := strings.TrimPrefix(path+"."+name, ".")
			switch group, ok := value.(map[string]any); {
			case full == "config":
			case !known[full]:
				t.Errorf("%s is in values.yaml and not in the schema", full)
			case ok && isGroup(t, full):
				look(full, group)
			}
		}
	}
	look("", defaults)

	rows.WriteString("\nThe settings, each also from a Secret or a ConfigMap:\n\n| value | default | what |\n|---|---|---|\n")
	for _, s := range Settings() {
		if Derived[s.Name] != "" {
			continue
		}
		value, note := strings.ReplaceAll(s.Default, ",", "<br>"), ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		if s.Secret {
			note = " (from a Secret alone)"
		}
		fmt.Fprintf(&rows, "| `config.%s`%s | %s | %s |\n", s.Name, note, value, strings.ReplaceAll(s.What, "|", `\|`))
	}
	const begin, end = "<!-- values -->\n", "<!-- /values -->"
	name := filepath.Join(chartDir, "README.md")
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s and %s", name, begin, end)
	}
	golden.Check(t, name, before+begin+rows.String()+end+after)
}

// isGroup reports whether the schema knows the names below a value.
func isGroup(t *testing.T, path string) bool {
	at := readSchema(t)
	for name := range strings.SplitSeq(path, ".") {
		at = at["properties"].(map[string]any)[name].(map[string]any)
	}
	return at["properties"] != nil
}

// A value that changes nothing is a promise that is not kept.
func TestEveryValueChangesWhatIsRendered(t *testing.T) {
	bases := map[string]string{}
	for name, base := range variants {
		text, err := rendered(t, base, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		bases[name] = text
	}
	for _, l := range leaves(t) {
		examples, _ := l.schema["examples"].([]any)
		for _, example := range examples {
			changes, failures := false, []string(nil)
			for name, base := range variants {
				if changes {
					break // each of them costs a compilation of the schema
				}
				text, err := rendered(t, base, l.path, example)
				if err != nil {
					failures = append(failures, name+": "+err.Error())
					continue
				}
				mustBeWhole(t, l.String(), text)
				changes = changes || text != bases[name]
			}
			if !changes {
				t.Errorf("%s = %v changes nothing; %s", l, example, strings.Join(failures, "; "))
			}
		}
	}
}

// All values at once, as far as they go together.
func TestAllValuesAtOnce(t *testing.T) {
	for _, mode := range []string{"Deployment", "StatefulSet"} {
		all := values(t, least)
		for _, l := range leaves(t) {
			if examples, ok := l.schema["examples"].([]any); ok {
				set(all, l.path, examples[0])
			}
		}
		set(all, []string{"mode"}, mode)
		if mode == "StatefulSet" {
			set(all, []string{"autoscaling", "kind"}, "none")
		}
		set(all, []string{"monitoring", "serviceMonitor", "enabled"}, false)
		objects, _, err := Render(loaded(t), all)
		if err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if len(objects) < 8 {
			t.Errorf("%s: only %d objects", mode, len(objects))
		}
	}
}

// Taken away with null, as --set x=null does, a value is left out or missed by
// its name; it never leaves a hole in what is rendered.
func TestAValueThatIsUnsetIsLeftOutOrMissed(t *testing.T) {
	left, missed := 0, 0
	for _, l := range leaves(t) {
		for i := range l.path { // and each group
			path := l.path[:i+1]
			for name, base := range variants {
				if name == "the least" || name == "a StatefulSet" && path[0] != "updateStrategy" {
					continue // what is in it is in the others
				}
				text, err := rendered(t, base, path, nil)
				if err == nil {
					left++
					mustBeWhole(t, name+", without "+strings.Join(path, "."), text)
				} else if missed++; !strings.Contains(err.Error(), path[len(path)-1]) {
					t.Errorf("%s, without %s: the error does not name it: %v", name, strings.Join(path, "."), err)
				}
			}
		}
	}
	if left == 0 || missed == 0 {
		t.Errorf("%d were left out, %d were missed", left, missed)
	}
}

// mustBeWhole looks for what a template writes where there is nothing to write.
func mustBeWhole(t *testing.T, what, text string) {
	t.Helper()
	for _, hole := range []string{"%!", "<nil>", "<no value>", ": null\n", "e+0", "map["} {
		if i := strings.Index(text, hole); i >= 0 {
			t.Errorf("%s: %q is rendered: ...%s...", what, hole, text[max(i-60, 0):min(i+30, len(text))])
		}
	}
}

// What must not be is refused before anything is installed, by name.
func TestWhatIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ values, want string }{
		"a value that nobody knows":                     {least + "replicaCount: 3\n", "replicaCount"},
		"a setting that nobody knows":                   {"config: {kafka: {broker: x}}", "broker"},
		"an id as a number":                             {"config: {kafka: {brokers: [a:1]}, mch_id: 1900000109}", "/config/mch_id"},
		"an API key in the values":                      {"config: {kafka: {brokers: [a:1]}, mch_id: \"1\", api_key: distinctive}", "/config/api_key"},
		"a SASL password in the values":                 {least + "\n  sign_type: MD5\n", ""}, // replaced below
		"one static id for all pods":                    {"config: {kafka: {brokers: [a:1], instance_id: w}}", "instance_id"},
		"an admin address that probes do not know":      {least + "  admin_addr: \"off\"\n", "admin_addr"},
		"no brokers":                                    {"config: {merchants_file: /m}", "config.kafka.brokers is not set"},
		"no merchant":                                   {"config: {kafka: {brokers: [a:1]}}", "no merchant is configured"},
		"a grace period that cuts a stop off":           {least + "terminationGracePeriodSeconds: 30\n", "set terminationGracePeriodSeconds to 36 or more"},
		"a shutdown_grace above the grace period":       {least + "  shutdown_grace: 2m\nterminationGracePeriodSeconds: 60\n", "set terminationGracePeriodSeconds to 131 or more"},
		"a duration without a unit":                     {least + "  shutdown_grace: \"25\"\n", "missing unit"},
		"too little memory":                             {least + "resources: {limits: {memory: 64Mi}}\n", "set resources.limits.memory to 76Mi or more"},
		"more buffer than memory":                       {least + "  max_buffered: 64MiB\n", "set resources.limits.memory to 256Mi or more"},
		"memory in a unit that is none":                 {least + "resources: {limits: {memory: 128m}}\n", "is no number of bytes"},
		"static members that scale":                     {least + "mode: StatefulSet\nautoscaling: {kind: keda}\n", "mode is StatefulSet, and autoscaling.kind is not none"},
		"scaling to nothing":                            {least + "autoscaling: {kind: keda, minReplicas: 0}\n", "minReplicas"},
		"fewer at most than at least":                   {least + "autoscaling: {kind: keda, minReplicas: 9}\n", "maxReplicas is less"},
		"two monitors, each worker counted twice":       {least + "monitoring: {podMonitor: {enabled: true}, serviceMonitor: {enabled: true}}\n", "twice"},
		"a probe that is faster than the answer":        {least + "probes: {liveness: {timeoutSeconds: 1}}\n", "timeoutSeconds"},
		"ports of brokers that are not known here":      {"config: {kafka: {brokers: {secretKeyRef: {name: a, key: b}}}, merchants_file: /m}\nnetworkPolicy: {enabled: true}", "networkPolicy.kafka.ports is not set"},
		"a broker without a port":                       {"config: {kafka: {brokers: [kafka-1]}, merchants_file: /m}\nnetworkPolicy: {enabled: true}", "\"kafka-1\" has no port"},
		"one static id for all pods, as a variable":     {least + "extraEnv: [{name: CLOSEORDER_KAFKA_INSTANCE_ID, value: w}]\n", "set mode to StatefulSet"},
		"an admin address as a variable":                {least + "extraEnv: [{name: CLOSEORDER_ADMIN_ADDR, value: \":1\"}]\n", "set port"},
		"a shutdown_grace that the grace period misses": {least + "extraEnv: [{name: CLOSEORDER_SHUTDOWN_GRACE, value: 2m}]\n", "set config.shutdown_grace"},
		"a buffer that the limit of memory misses":      {least + "extraEnv: [{name: CLOSEORDER_MAX_BUFFERED, value: 1GiB}]\n", "set config.max_buffered"},
		"slots that the threshold misses":               {least + "extraEnv: [{name: CLOSEORDER_MAX_IN_FLIGHT, value: \"9\"}]\n", "set config.max_in_flight"},
		"a reference with a key too many":               {"config: {kafka: {brokers: [a:1]}, api_key: {secretKeyRef: {name: a, key: b, optional: true}}}", "optional"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a SASL password in the values" {
				c.values, c.want = "config: {kafka: {brokers: [a:1], sasl: {password: distinctive}}}", "/config/kafka/sasl/password"
			}
			_, err := rendered(t, c.values, nil, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if strings.Contains(fmt.Sprint(err), "distinctive") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

// examples of settings that have no default to derive one from.
var settingExamples = map[string]any{
	"kafka.brokers":                 []any{"kafka-0.kafka:9093", "kafka-1.kafka:9093"},
	"kafka.client_id":               "worker",
	"kafka.tls.ca_file":             secretKey("kafka-tls", "ca.crt"),
	"kafka.tls.cert_file":           secretKey("kafka-tls", "tls.crt"),
	"kafka.tls.key_file":            secretKey("kafka-tls", "tls.key"),
	"kafka.tls.server_name":         "kafka",
	"kafka.tls.verify":              "chain",
	"kafka.sasl.mechanism":          "SCRAM-SHA-512",
	"kafka.sasl.username":           "closeorder",
	"kafka.sasl.password":           secretKey("kafka", "password"),
	"kafka.sasl.password_file":      secretKey("kafka", "password"),
	"kafka.sasl.token":              secretKey("token", "token"),
	"kafka.sasl.token_file":         secretKey("token", "token"),
	"kafka.sasl.token_url":          "https://login.example/token",
	"kafka.sasl.token_ca_file":      map[string]any{"configMapKeyRef": map[string]any{"name": "roots", "key": "ca.crt"}},
	"kafka.sasl.client_id":          "closeorder",
	"kafka.sasl.client_secret":      secretKey("token", "client"),
	"kafka.sasl.client_secret_file": secretKey("token", "client"),
	"kafka.sasl.scope":              "kafka",
	"kafka.sasl.extensions":         []any{"logicalCluster=lkc-1"},
	"kafka.isolation":               "read_uncommitted",
	"topics.requests":               "r",
	"topics.outcomes":               "o",
	"topics.dead_letters":           "d",
	"topics.retries_prefix":         "later",
	"topics.retry_delays":           []any{"5s", "10m"},
	"gateway.urls":                  []any{"https://gw.example/wx", "http://gw2.example:8080"},
	"gateway.confirm":               "always",
	"gateway.ca_file":               map[string]any{"configMapKeyRef": map[string]any{"name": "roots", "key": "ca.crt"}},
	"gateway.proxy":                 secretKey("proxy", "url"),
	"merchants_file":                secretKey("closeorder-merchants", "merchants.yaml"),
	"mch_id":                        "1900000109",
	"appid":                         "wx8888888888888888",
	"api_key":                       secretKey("merchant", "key"),
	"api_key_file":                  secretKey("merchant", "key"),
	"sign_type":                     "HMAC-SHA256",
	"kafka.group":                   "g",
	"kafka.start":                   "latest",
	"kafka.skip":                    []any{"r[3]@10-12"},
	"processing_guarantee":          "exactly_once",
	"log.level":                     "debug",
	"log.format":                    "text",
}

func secretKey(name, key string) map[string]any {
	return map[string]any{"secretKeyRef": map[string]any{"name": name, "key": key}}
}

// exampleOf is a value of a setting that is not its default.
func exampleOf(t *testing.T, s config.Setting) any {
	t.Helper()
	if value, ok := settingExamples[s.Name]; ok {
		return value
	}
	if s.Default == "true" || s.Default == "false" {
		return s.Default == "false"
	}
	if n, err := strconv.Atoi(s.Default); err == nil {
		return float64(n + 1)
	}
	if d, err := time.ParseDuration(s.Default); err == nil {
		return (d * 3 / 2).String()
	}
	if n, ok := strings.CutSuffix(s.Default, "MiB"); ok {
		return n + "1MiB"
	}
	t.Errorf("settingExamples has no value for %s", s.Name)
	return nil
}

// Every setting of the program can be set through values, and what is rendered is
// what the program reads.
func TestEverySettingCanBeSet(t *testing.T) {
	// What does not go together is set in files of its own.
	password := []string{"kafka.sasl.username", "kafka.sasl.password", "kafka.sasl.password_file"}
	token := []string{"kafka.sasl.token", "kafka.sasl.token_file", "kafka.sasl.extensions"}
	endpoint := []string{"kafka.sasl.token_url", "kafka.sasl.token_ca_file", "kafka.sasl.client_id", "kafka.sasl.client_secret", "kafka.sasl.client_secret_file", "kafka.sasl.scope"}
	single := []string{"mch_id", "appid", "api_key", "api_key_file", "sign_type"}
	many := []string{"merchants_file"}
	transactions := []string{"processing_guarantee", "transaction_interval", "kafka.transaction_timeout"}
	uncommitted := []string{"kafka.isolation"}
	alone := map[string][]string{
		"a file of merchants, in transactions": slices.Concat(single, []string{"kafka.sasl.password"}, token, endpoint, uncommitted),
		"a single merchant":                    slices.Concat(many, []string{"api_key_file", "kafka.sasl.password_file"}, token, endpoint, transactions),
		"its key as a file":                    slices.Concat(many, []string{"api_key", "kafka.sasl.password"}, token, endpoint, uncommitted),
		"a token":                              slices.Concat(single, password, endpoint, []string{"kafka.sasl.token_file"}, uncommitted),
		"a token as a file":                    slices.Concat(single, password, endpoint, []string{"kafka.sasl.token"}, uncommitted),
		"a token endpoint":                     slices.Concat(single, password, []string{"kafka.sasl.token", "kafka.sasl.token_file", "kafka.sasl.client_secret"}, uncommitted),
		"its secret as a variable":             slices.Concat(single, password, []string{"kafka.sasl.token", "kafka.sasl.token_file", "kafka.sasl.client_secret_file"}, uncommitted),
	}
	taken := map[string]bool{}
	for name, without := range alone {
		t.Run(name, func(t *testing.T) {
			all := map[string]any{"resources": map[string]any{"limits": map[string]any{"memory": "1Gi"}}, "config": map[string]any{}}
			var given []string
			for _, s := range Settings() {
				if Derived[s.Name] != "" || slices.Contains(without, s.Name) {
					continue
				}
				value := exampleOf(t, s)
				if s.Name == "kafka.sasl.mechanism" && slices.Contains(without, "kafka.sasl.username") {
					value = "OAUTHBEARER"
				}
				set(all["config"].(map[string]any), strings.Split(s.Name, "."), value)
				given = append(given, s.Name)
			}
			objects, _, err := Render(loaded(t), all)
			if err != nil {
				t.Fatal(err)
			}
			pod := podOf(t, objects)
			made := materialise(t, pod, objects, secrets(t), t.TempDir())
			env := slices.Clone(made.env)
			for i := range env {
				env[i] = strings.ReplaceAll(env[i], "/etc/closeorder/", made.dir+"/etc/closeorder/")
			}
			file := filepath.Join(made.dir, "etc/closeorder/config/closeorder.yaml")
			if _, err := config.Load(config.Source{Env: env, File: file}); err == nil {
				t.Fatal("paths of the pod were found outside of it")
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			outside := filepath.Join(t.TempDir(), "closeorder.yaml")
			if err := os.WriteFile(outside, bytes.ReplaceAll(text, []byte("/etc/closeorder/"), []byte(made.dir+"/etc/closeorder/")), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(config.Source{Env: env, File: outside})
			if err != nil {
				t.Fatalf("%v\n%s\n%q", err, text, env)
			}
			plain := values(t, string(text))
			for _, name := range given {
				if taken[name] = has(plain, name) || slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, config.EnvPrefix+envName(name)+"=") }); !taken[name] {
					t.Errorf("%s was set and did not arrive", name)
				}
			}
			if cfg.AdminAddr != ":9290" || cfg.Kafka.Group != "g" || cfg.MaxInFlight != 257 || cfg.ShutdownGrace != 37500*time.Millisecond || reflect.DeepEqual(cfg.Topics, config.Default().Topics) {
				t.Errorf("%+v", cfg)
			}
			for _, secret := range []string{secretText, simulatorKey} {
				if bytes.Contains(text, []byte(secret)) {
					t.Errorf("the ConfigMap holds a secret:\n%s", text)
				}
			}
		})
	}
	for _, s := range Settings() {
		if !taken[s.Name] && Derived[s.Name] == "" {
			t.Errorf("%s cannot be set", s.Name)
		}
	}
}

func envName(setting string) string {
	return strings.ToUpper(strings.ReplaceAll(setting, ".", "_"))
}

func has(all map[string]any, name string) bool {
	at := any(all)
	for part := range strings.SplitSeq(name, ".") {
		group, ok := at.(map[string]any)
		if !ok {
			return false
		}
		if at, ok = group[part]; !ok {
			return false
		}
	}
	return true
}
