// Package chart renders deploy/chart, as helm install does, and reads what comes
// out as strictly as an API server that knows every field. It is a module of its
// own, as Helm and the types of Kubernetes are no dependency of the worker; its
// tests also run what was rendered, without a cluster.
//
//	values --Render--> objects --pod--> process, probed and stopped as a kubelet does
package chart

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// Release and Namespace are what everything is rendered for.
const (
	Release   = "closeorder"
	Namespace = "payments"
)

// Object is one document that a template made.
type Object struct {
	Template string // its file: deployment.yaml
	Kind     string
	Name     string
	Text     string
	// Value is a pointer to the type of its API, such as *apps.Deployment.
	Value any
}

// kinds are those that may be rendered. Another one is a mistake: nothing
// would have looked at it.
var kinds = map[string]func() any{
	"v1/ConfigMap":                           func() any { return new(core.ConfigMap) },
	"v1/Service":                             func() any { return new(core.Service) },
	"v1/ServiceAccount":                      func() any { return new(core.ServiceAccount) },
	"v1/Secret":                              func() any { return new(core.Secret) },
	"apps/v1/Deployment":                     func() any { return new(apps.Deployment) },
	"apps/v1/StatefulSet":                    func() any { return new(apps.StatefulSet) },
	"batch/v1/Job":                           func() any { return new(batch.Job) },
	"autoscaling/v2/HorizontalPodAutoscaler": func() any { return new(autoscaling.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1/NetworkPolicy":     func() any { return new(networking.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":          func() any { return new(policy.PodDisruptionBudget) },
	"keda.sh/v1alpha1/ScaledObject":          func() any { return new(keda.ScaledObject) },
	"monitoring.coreos.com/v1/PodMonitor":    func() any { return new(monitoring.PodMonitor) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() any {
		return new(monitoring.ServiceMonitor)
	},
	"monitoring.coreos.com/v1/PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
}

// Load reads the chart in a folder.
func Load(dir string) (*chart.Chart, error) { return loader.LoadDir(dir) }

// Render renders a chart with values over its own, which the schema of the chart
// has to take, and decodes all of it. Notes are what Helm prints.
func Render(c *chart.Chart, values map[string]any) (objects []Object, notes string, err error) {
	release := common.ReleaseOptions{Name: Release, Namespace: Namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, values, release, nil)
	if err != nil {
		return nil, "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, "", err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch base := path.Base(name); {
		case base == "NOTES.txt":
			notes = files[name]
		case strings.HasPrefix(base, "_"):
		default:
			for document := range strings.SplitSeq("\n"+files[name], "\n---") {
				if isEmpty(document) {
					continue
				}
				object, err := decode(base, strings.TrimSpace(document)+"\n")
				if err != nil {
					return nil, "", fmt.Errorf("%s: %w\n%s", base, err, document)
				}
				objects = append(objects, object)
			}
		}
	}
	if len(objects) == 0 {
		return nil, "", errors.New("nothing was rendered")
	}
	return objects, notes, nil
}

// isEmpty reports whether a document has nothing but comments in it.
func isEmpty(document string) bool {
	for line := range strings.SplitSeq(document, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// decode reads one document into the type of its API. A field that the type
// does not have, or that is there twice, is an error.
func decode(template, text string) (Object, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal([]byte(text), &head); err != nil {
		return Object{}, err
	}
	make, ok := kinds[head.APIVersion+"/"+head.Kind]
	if !ok {
		return Object{}, fmt.Errorf("%s/%s is no kind that is looked at", head.APIVersion, head.Kind)
	}
	value := make()
	if err := yaml.UnmarshalStrict([]byte(text), value); err != nil {
		return Object{}, err
	}
	if head.Metadata.Name == "" || head.Metadata.Namespace != Namespace {
		return Object{}, fmt.Errorf("%s %q is in namespace %q, want %q", head.Kind, head.Metadata.Name, head.Metadata.Namespace, Namespace)
	}
	return Object{Template: template, Kind: head.Kind, Name: head.Metadata.Name, Text: text, Value: value}, nil
}

// Find returns the one object of a type, by name where there are several.
func Find[T any](objects []Object, name string) (*T, error) {
	for _, o := range objects {
		if value, ok := o.Value.(*T); ok && (name == "" || o.Name == name) {
			return value, nil
		}
	}
	return nil, fmt.Errorf("no %T %s was rendered", *new(T), name)
}
