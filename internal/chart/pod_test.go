package chart

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/authority"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	secretText   = "distinctive-password"
	simulatorKey = gatewaysim.DirectKey
)

// outside are the Secrets and ConfigMaps that are no part of the release.
type outside struct {
	secrets    map[string]map[string]string
	configMaps map[string]map[string]string
}

// merchantsSecret holds a file of merchants, and their keys beside it.
func merchantsSecret(mchIDs ...string) map[string]string {
	keys := map[string]string{"1900000109": gatewaysim.DirectKey, "1900000110": gatewaysim.HMACKey}
	out := map[string]string{}
	file := "merchants:\n"
	for _, id := range mchIDs {
		file += fmt.Sprintf("  - {mch_id: %q, appid: wx8888888888888888, sign_type: HMAC-SHA256, key_file: %q}\n", id, id+".key")
		out[id+".key"] = keys[id]
	}
	out["merchants.yaml"] = file
	return out
}

func secrets(t *testing.T) outside {
	t.Helper()
	ca := authority.New(t, "roots")
	cert, key := ca.Issue(t, authority.Wanted{CommonName: "closeorder", ForClients: true})
	return outside{
		secrets: map[string]map[string]string{
			"closeorder-merchants": merchantsSecret("1900000109"),
			"kafka-tls":            {"ca.crt": string(ca.PEM), "tls.crt": string(cert), "tls.key": string(key)},
			"kafka":                {"password": secretText},
			"proxy":                {"url": "http://user:" + secretText + "@proxy.example:3128"},
			"merchant":             {"key": simulatorKey},
			"token":                {"token": secretText, "client": secretText},
		},
		configMaps: map[string]map[string]string{"roots": {"ca.crt": string(ca.PEM)}},
	}
}

// pod is what a controller makes of a template: a name, and what is in it.
type pod struct {
	name string
	spec core.PodSpec
	meta meta.ObjectMeta
}

// worker is its container.
func (p pod) worker() core.Container { return p.spec.Containers[0] }

// podOf is the first pod of the workload that was rendered, named as its
// controller would name it.
func podOf(t *testing.T, objects []Object) pod {
	t.Helper()
	var of pod
	if d, err := Find[apps.Deployment](objects, ""); err == nil {
		of = pod{name: d.Name + "-6d5f7b9c4-x2x7k", spec: d.Spec.Template.Spec, meta: d.Spec.Template.ObjectMeta}
	} else if s, err := Find[apps.StatefulSet](objects, ""); err == nil {
		of = pod{name: s.Name + "-0", spec: s.Spec.Template.Spec, meta: s.Spec.Template.ObjectMeta}
	} else {
		t.Fatal("neither a Deployment nor a StatefulSet was rendered")
	}
	if n := len(of.spec.Containers); n != 1 {
		t.Fatalf("%d containers in the pod, want 1", n)
	}
	return of
}

// made is a pod's place on this machine.
type made struct {
	dir  string   // its root
	env  []string // of its container
	args []string
	// volumes are their folders, by name, and mounted at the mount paths: here as
	// links, in a container as mounts.
	volumes map[string]*volume
}

// materialise makes what a kubelet makes of a pod: volumes as its atomic writer
// lays them out, and the container's environment and arguments.
func materialise(t *testing.T, p pod, objects []Object, have outside, dir string) *made {
	t.Helper()
	m := &made{dir: filepath.Join(dir, "root"), volumes: map[string]*volume{}}
	for _, o := range objects {
		if c, ok := o.Value.(*core.ConfigMap); ok && o.Template == "configmap.yaml" {
			have.configMaps = maps.Clone(have.configMaps)
			if have.configMaps == nil {
				have.configMaps = map[string]map[string]string{}
			}
			have.configMaps[c.Name] = c.Data
		}
	}
	var group *int64
	if p.spec.SecurityContext != nil {
		group = p.spec.SecurityContext.FSGroup
	}
	for _, v := range p.spec.Volumes {
		files, mode, kind := map[string]string(nil), (*int32)(nil), ""
		switch {
		case v.Secret != nil:
			files, mode, kind = have.secrets[v.Secret.SecretName], v.Secret.DefaultMode, "Secret "+v.Secret.SecretName
		case v.ConfigMap != nil:
			files, mode, kind = have.configMaps[v.ConfigMap.Name], v.ConfigMap.DefaultMode, "ConfigMap "+v.ConfigMap.Name
		default:
			t.Fatalf("volume %s is of a kind that this test does not know", v.Name)
		}
		if files == nil {
			t.Fatalf("volume %s: there is no %s, and the pod would wait for it", v.Name, kind)
		}
		made := &volume{dir: filepath.Join(dir, "volumes", v.Name), mode: 0o644, group: group}
		if mode != nil {
			made.mode = os.FileMode(*mode)
		}
		made.write(t, files)
		m.volumes[v.Name] = made
	}
	c := p.worker()
	for _, mount := range c.VolumeMounts {
		v, ok := m.volumes[mount.Name]
		if !ok {
			t.Fatalf("volume %s is mounted and not there", mount.Name)
		}
		if mount.SubPath != "" {
			t.Errorf("%s is mounted by subPath: a change would never be seen", mount.MountPath)
		}
		at := filepath.Join(m.dir, mount.MountPath)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(v.dir, at); err != nil {
			t.Fatal(err)
		}
	}
	m.env = environment(t, p, objects, have)
	for _, arg := range c.Args {
		m.args = append(m.args, expand(arg, m.env))
	}
	return m
}

// environment is that of the container: the image's, what Kubernetes always sets,
// and the pod's own.
func environment(t *testing.T, p pod, objects []Object, have outside) []string {
	t.Helper()
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
		"HOSTNAME=" + p.name, "HOME=/home/nonroot",
		"KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_PORT=tcp://10.96.0.1:443",
	}
	if links := p.spec.EnableServiceLinks; links == nil || *links {
		for _, o := range objects {
			if s, ok := o.Value.(*core.Service); ok {
				name := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
				env = append(env, name+"_SERVICE_HOST=10.96.0.7", name+"_PORT=tcp://10.96.0.7:9290")
			}
		}
	}
	for _, v := range p.worker().Env {
		value := expand(v.Value, env)
		if from := v.ValueFrom; from != nil {
			var ok bool
			switch {
			case from.SecretKeyRef != nil:
				value, ok = have.secrets[from.SecretKeyRef.Name][from.SecretKeyRef.Key]
			case from.ConfigMapKeyRef != nil:
				value, ok = have.configMaps[from.ConfigMapKeyRef.Name][from.ConfigMapKeyRef.Key]
			case from.FieldRef != nil:
				value, ok = map[string]string{"metadata.name": p.name, "metadata.namespace": Namespace}[from.FieldRef.FieldPath]
			}
			if !ok {
				t.Fatalf("variable %s comes from where nothing is: %+v", v.Name, from)
			}
		}
		env = append(env, v.Name+"="+value)
	}
	return env
}

// expand writes the value of a variable for $(NAME), as Kubernetes does in values and
// arguments.
func expand(text string, env []string) string {
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		text = strings.ReplaceAll(text, "$("+name+")", value)
	}
	return text
}

// volume is the folder of a Secret or ConfigMap: ..data is a link to a folder of
// files, each name a link into it. It is changed by putting another link in its
// place, at one stroke, as pkg/volume/util/atomic_writer.go of Kubernetes does.
type volume struct {
	dir   string
	mode  os.FileMode
	group *int64
	turn  int
}

func (v *volume) write(t *testing.T, files map[string]string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	v.turn++
	stamp := fmt.Sprintf("..2026_01_31_08_00_%02d.%09d", v.turn, 123456789+v.turn)
	before, _ := os.Readlink(filepath.Join(v.dir, "..data"))
	must(os.MkdirAll(filepath.Join(v.dir, stamp), 0o755))
	mode, group := v.mode, -1
	if v.group != nil {
		// SetVolumeOwnership of a volume that is read only: for the group to read.
		mode, group = mode|0o440, int(*v.group)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(v.dir, stamp, name)
		must(os.WriteFile(file, []byte(files[name]), 0o600))
		must(os.Chmod(file, mode))
		if os.Getuid() == 0 {
			must(os.Chown(file, 0, group))
		}
	}
	must(os.Symlink(stamp, filepath.Join(v.dir, "..data_tmp")))
	must(os.Rename(filepath.Join(v.dir, "..data_tmp"), filepath.Join(v.dir, "..data")))
	for name := range files {
		if link := filepath.Join(v.dir, name); before == "" || !exists(link) {
			must(os.Symlink(filepath.Join("..data", name), link))
		}
	}
	if before != "" {
		must(os.RemoveAll(filepath.Join(v.dir, before)))
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
