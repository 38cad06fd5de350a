package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func hashInSum(t *testing.T, line string) string {
	t.Helper()
	_, after, ok := strings.Cut(string(get(t, "go.sum")), "\n"+line+"h1:")
	if !ok {
		t.Fatalf("go.sum has no %s", line)
	}
	hash, _, _ := strings.Cut(after, "\n")
	raw, err := base64.StdEncoding.DecodeString(hash)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(raw)
}

// The image of each platform runs as who, with what and from when it says.
func TestTheImageSaysHowItRuns(t *testing.T) {
	t.Parallel()
	r := built().whole(t)
	index, err := readLayout(r.imageFolder())
	if err != nil {
		t.Fatal(err)
	}
	images, err := platformImages(index)
	if err != nil {
		t.Fatal(err)
	}
	if got := sortedKeys(images); !slices.Equal(got, []string{"linux/amd64", "linux/arm64"}) {
		t.Fatalf("it is for %v", got)
	}
	of, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range of.Manifests {
		if m.ArtifactType != "" {
			t.Errorf("%s: the index calls it an artifact, %s", m.Platform, m.ArtifactType)
		}
	}
	below := make(map[v1.Hash]bool)
	for target, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if config.OS+"/"+config.Architecture != target {
			t.Errorf("%s: it is for %s/%s", target, config.OS, config.Architecture)
		}
		if !config.Created.Equal(r.time) || !config.History[0].Created.Equal(r.time) {
			t.Errorf("%s: created %v, want %v", target, config.Created, r.time)
		}
		if got := config.Config.User; got != "65532:65532" {
			t.Errorf("%s: user %q", target, got)
		}
		for key, want := range map[string]string{"org.opencontainers.image.version": standInVersion, "org.opencontainers.image.revision": r.commit, "org.opencontainers.image.source": source} {
			if config.Config.Labels[key] != want || manifest.Annotations[key] != want {
				t.Errorf("%s: %s is %q as a label and %q as an annotation, want %q", target, key, config.Config.Labels[key], manifest.Annotations[key], want)
			}
		}
		if len(manifest.Layers) != 2 || manifest.MediaType != types.OCIManifestSchema1 || manifest.Layers[0].MediaType != types.OCILayer || manifest.Config.MediaType != types.OCIConfigJSON {
			t.Errorf("%s: manifest %s of %d layers (%s) and %s", target, manifest.MediaType, len(manifest.Layers), manifest.Layers[0].MediaType, manifest.Config.MediaType)
		}
		below[manifest.Layers[0].Digest] = true
	}
	if len(below) != 1 {
		t.Error("what stands around the program is not the same for both platforms")
	}
}

// A Docker that knows no OCI layout finds each platform by a tag of its own.
func TestTheTarIsOneOfDockerSaveToo(t *testing.T) {
	t.Parallel()
	r := built().whole(t)
	if raw, err := os.ReadFile(filepath.Join(r.imageFolder(), "manifest.json")); err == nil {
		t.Errorf("the folder has it too: %s", raw)
	}
	manifest, err := tarball.LoadManifest(opener(r.imageArchive()))
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, m := range manifest {
		tags = append(tags, m.RepoTags...)
		if _, err := tarball.Image(opener(r.imageArchive()), tag(t, m.RepoTags[0])); err != nil {
			t.Errorf("%s: %v", m.RepoTags[0], err)
		}
	}
	if want := []string{repository + ":v0.9.8-amd64", repository + ":v0.9.8-arm64"}; !slices.Equal(tags, want) {
		t.Errorf("tags %v, want %v", tags, want)
	}
}

// All files are root's, and nobody else may write one, but in a user's own
// folders.
func TestTheFilesOfTheImageAreRoots(t *testing.T) {
	t.Parallel()
	r := built().whole(t)
	index, err := readLayout(r.imageFolder())
	if err != nil {
		t.Fatal(err)
	}
	images, err := platformImages(index)
	if err != nil {
		t.Fatal(err)
	}
	all := mutate.Extract(images["linux/amd64"])
	defer all.Close()
	files := untar(t, all)
	for name, h := range files {
		switch name {
		case "tmp/", "tmp":
			if h.Mode != 0o1777 {
				t.Errorf("%s: mode %o", name, h.Mode)
			}
		case "home/nonroot/", "home/nonroot":
			if h.Uid != nonroot || h.Gid != nonroot || h.Mode != 0o700 {
				t.Errorf("%s: mode %o of %d:%d", name, h.Mode, h.Uid, h.Gid)
			}
		default:
			if h.Uid != 0 || h.Gid != 0 || h.Mode&0o022 != 0 || h.Mode&0o6000 != 0 {
				t.Errorf("%s: mode %o of %d:%d", name, h.Mode, h.Uid, h.Gid)
			}
		}
		if !h.ModTime.Equal(r.time) {
			t.Errorf("%s is of %v", name, h.ModTime)
		}
	}
	for _, name := range []string{"closeorder", "etc/passwd", "etc/group", "etc/nsswitch.conf", rootsPath, zonesPath + "/Asia/Shanghai", zonesPath + "/UTC"} {
		if files[name] == nil || files[name].Size == 0 {
			t.Errorf("there is no %s", name)
		}
	}
}

// The roots are Mozilla's, and the one of WeChat Pay's hosts is among them
// (https://pay.weixin.qq.com/index.php/public/wechatpay_en/server_cert_notif).
func TestTheRootsAreThoseThatAreTrustedWholly(t *testing.T) {
	t.Parallel()
	roots, n := authorities()
	if !strings.HasPrefix(string(roots), "# The roots that Mozilla trusts wholly for servers, from golang.org/x/crypto/x509roots/fallback v0.0.0-2") {
		t.Errorf("they do not say where they come from: %.120s", roots)
	}
	names := make(map[string]bool)
	for rest := roots; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !cert.IsCA {
			t.Errorf("%s is no authority", cert.Subject)
		}
		names[cert.Subject.CommonName] = true
	}
	if n < 100 || !x509.NewCertPool().AppendCertsFromPEM(roots) {
		t.Errorf("only %d roots", n)
	}
	if names["Izenpe.com"] {
		t.Error("Izenpe.com is trusted for certificates until 2026-04-15 alone, and is among them")
	}
	for _, name := range []string{"DigiCert Global Root G2", "ISRG Root X1"} {
		if !names[name] {
			t.Errorf("%s is not among them", name)
		}
	}
}

// TestTheDockerfileMakesTheSameImage holds the last stage of the Dockerfile to
// what the image here says of itself.
func TestTheDockerfileMakesTheSameImage(t *testing.T) {
	t.Parallel()
	stage := lastStage(t, string(get(t, "../../Dockerfile")))
	if got := words(t, stage["ENTRYPOINT"]); !slices.Equal(got, entrypoint) {
		t.Errorf("entrypoint %v, want %v", got, entrypoint)
	}
	if got := words(t, stage["CMD"]); !slices.Equal(got, cmd) {
		t.Errorf("command %v, want %v", got, cmd)
	}
	if !slices.ContainsFunc(stage["COPY"], func(line string) bool { return strings.HasSuffix(line, " "+entrypoint[0]) }) {
		t.Errorf("the program is copied to %v, want %s", stage["COPY"], entrypoint[0])
	}
	// The names are those of /etc/passwd and /etc/group, there and here.
	user := strings.ReplaceAll(strings.Join(stage["USER"], ""), "nonroot", strconv.Itoa(nonroot))
	if want := fmt.Sprintf("%d:%[1]d", nonroot); user != want {
		t.Errorf("user %v, want %s", stage["USER"], want)
	}
	found := make(map[string]string)
	for _, line := range stage["LABEL"] {
		for _, m := range regexp.MustCompile(`([\w.]+)=("[^"]*"|\S+)`).FindAllStringSubmatch(line, -1) {
			found[m[1]] = strings.Trim(m[2], `"`)
		}
	}
	want := maps.Clone(labels)
	want["org.opencontainers.image.revision"] = "$REVISION"
	if !maps.Equal(found, want) {
		t.Errorf("labels %v, want %v", found, want)
	}
}

// TestTheDockerfileBuildsWithTheGoOfARelease: two binaries of one version are one.
func TestTheDockerfileBuildsWithTheGoOfARelease(t *testing.T) {
	t.Parallel()
	released := regexp.MustCompile(`(?m)^export GOTOOLCHAIN=go(\S+)$`).FindSubmatch(get(t, "../../.ci/release"))
	built := regexp.MustCompile(`(?m)^ARG BUILD_IMAGE=\S+/golang:([\d.]+)@sha256:`).FindSubmatch(get(t, "../../Dockerfile"))
	if released == nil || built == nil || string(released[1]) != string(built[1]) {
		t.Errorf(".ci/release takes Go %q, the Dockerfile %q", released, built)
	}
}

// lastStage is the arguments of each instruction behind the last FROM.
func lastStage(t *testing.T, dockerfile string) map[string][]string {
	t.Helper()
	dockerfile = strings.ReplaceAll(dockerfile, "\\\n", " ")
	stage := make(map[string][]string)
	for line := range strings.Lines(dockerfile) {
		instruction, arguments, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case instruction == "" || strings.HasPrefix(instruction, "#"):
		case instruction == "FROM":
			clear(stage)
		default:
			stage[instruction] = append(stage[instruction], strings.TrimSpace(arguments))
		}
	}
	if len(stage) == 0 {
		t.Fatal("the Dockerfile has no last stage")
	}
	return stage
}

func words(t *testing.T, arguments []string) (list []string) {
	t.Helper()
	if len(arguments) != 1 {
		t.Fatalf("%v, want one", arguments)
	}
	if err := json.Unmarshal([]byte(arguments[0]), &list); err != nil {
		t.Fatalf("%s: %v", arguments[0], err)
	}
	return list
}
