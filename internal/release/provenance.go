package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// https://slsa.dev/spec/v1.1/provenance
const slsaPredicate = "https://slsa.dev/provenance/v1"

// What a build is, and who makes one that no service does: sections of a page.
const (
	buildType = source + "/blob/main/docs/releases.md#what-a-build-is"
	byHand    = source + "/blob/main/docs/releases.md#by-hand"
)

// circumstances are what is not in the files of the release.
type circumstances struct {
	builder string // who builds, a URI; by hand when empty
	tagged  bool   // the commit has the tag of the version
	zones   []byte
	tools   string // folder of the tools that .ci/release has installed
	image   v1.ImageIndex
}

// prove writes from what, with what and by whom the files of the release were
// made: an in-toto Statement v1 with SLSA's provenance v1, in one line. Who
// says it is not proven by it: that takes a signature, which the workflow of a
// release adds. There is no time in it, so that the same build says the same.
func (r *release) prove(c circumstances) error {
	subjects, err := r.subjects(c.image)
	if err != nil {
		return err
	}
	dependencies, settings, err := r.materials(c)
	if err != nil {
		return err
	}
	builder := &slsa.Builder{Id: c.builder}
	if builder.Id == "" {
		builder.Id = byHand
	}
	if builder.BuilderDependencies, err = toolsOf(c.tools); err != nil {
		return err
	}
	external, err := structpb.NewStruct(map[string]any{"source": source, "version": r.version, "commit": r.commit})
	if err != nil {
		return err
	}
	internal, err := structpb.NewStruct(settings)
	if err != nil {
		return err
	}
	line, err := statement(subjects, &slsa.Provenance{
		BuildDefinition: &slsa.BuildDefinition{
			BuildType: buildType, ExternalParameters: external, InternalParameters: internal, ResolvedDependencies: dependencies,
		},
		RunDetails: &slsa.RunDetails{Builder: builder},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(r.provenance(), line, 0o644)
}

// statement is one line of JSON lines. protojson puts blanks between its tokens
// by the hash of the program, on purpose; without them the bytes are the same.
func statement(subjects []*intoto.ResourceDescriptor, p *slsa.Provenance) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	encoded, err := protojson.Marshal(p)
	if err != nil {
		return nil, err
	}
	predicate := new(structpb.Struct)
	if err := protojson.Unmarshal(encoded, predicate); err != nil {
		return nil, err
	}
	s := &intoto.Statement{Type: intoto.StatementTypeUri, Subject: subjects, PredicateType: slsaPredicate, Predicate: predicate}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if encoded, err = protojson.Marshal(s); err != nil {
		return nil, err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, encoded); err != nil {
		return nil, err
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// subjects are the files of the release but those that are made of them, and
// the image as a registry knows it.
func (r *release) subjects(image v1.ImageIndex) ([]*intoto.ResourceDescriptor, error) {
	names, err := r.files(sums, filepath.Base(r.provenance()))
	if err != nil {
		return nil, err
	}
	var subjects []*intoto.ResourceDescriptor
	for _, name := range names {
		d, err := digest(filepath.Join(r.folder, name))
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, &intoto.ResourceDescriptor{Name: name, Digest: map[string]string{"sha256": d}})
	}
	hash, err := image.Digest()
	if err != nil {
		return nil, err
	}
	return append(subjects, &intoto.ResourceDescriptor{Name: repository, Digest: map[string]string{hash.Algorithm: hash.Hex}}), nil
}

// materials are what went into the binaries and the image, and how: the commit,
// each module that is linked into one of them with the hash that go.sum has, the
// roots, the time zones, Go.
func (r *release) materials(c circumstances) ([]*intoto.ResourceDescriptor, map[string]any, error) {
	commit := &intoto.ResourceDescriptor{Uri: "git+" + source, Digest: map[string]string{"gitCommit": r.commit}}
	if c.tagged {
		commit.Uri += "@refs/tags/" + r.version
	}
	settings, modules, toolchain := make(map[string]any), make(map[string]*debug.Module), ""
	for _, target := range targets {
		p, err := readProgram(r.archive(target))
		if err != nil {
			return nil, nil, err
		}
		if err := p.isOf(r, target); err != nil {
			return nil, nil, err
		}
		if toolchain != "" && toolchain != p.info.GoVersion {
			return nil, nil, fmt.Errorf("the binaries were built by %s and %s; make the release anew", toolchain, p.info.GoVersion)
		}
		toolchain = p.info.GoVersion
		for _, m := range p.info.Deps {
			modules[m.Path+"@"+m.Version] = m
		}
		how := make(map[string]any)
		for _, s := range p.info.Settings {
			if !strings.HasPrefix(s.Key, "vcs") {
				how[s.Key] = s.Value
			}
		}
		settings[target] = how
	}
	for _, m := range ownModules() {
		if m.Path == rootsModule {
			modules[m.Path+"@"+m.Version] = m
		}
	}
	all := []*intoto.ResourceDescriptor{commit}
	for _, key := range sortedKeys(modules) {
		d, err := moduleOf(modules[key])
		if err != nil {
			return nil, nil, err
		}
		all = append(all, d)
	}
	return append(all,
		&intoto.ResourceDescriptor{Uri: "pkg:golang/std@" + strings.TrimPrefix(toolchain, "go"), Name: toolchain},
		&intoto.ResourceDescriptor{Name: "lib/time/zoneinfo.zip of " + toolchain, Digest: map[string]string{"sha256": hashOf(c.zones)}},
	), settings, nil
}

// toolsOf are the programs in a folder, and this one's modules.
func toolsOf(folder string) ([]*intoto.ResourceDescriptor, error) {
	modules := make(map[string]*debug.Module)
	for _, m := range ownModules() {
		if m.Sum != "" {
			modules[m.Path+"@"+m.Version] = m
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		info, err := buildinfo.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		if info.Main.Sum != "" { // not of this repository
			modules[info.Main.Path+"@"+info.Main.Version] = &info.Main
		}
	}
	var tools []*intoto.ResourceDescriptor
	for _, key := range sortedKeys(modules) {
		d, err := moduleOf(modules[key])
		if err != nil {
			return nil, err
		}
		tools = append(tools, d)
	}
	return tools, nil
}

// moduleOf names a module as a package URL, with its hash as in-toto writes what
// go.sum has as "h1:".
func moduleOf(m *debug.Module) (*intoto.ResourceDescriptor, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	hash, ok := strings.CutPrefix(m.Sum, "h1:")
	raw, err := base64.StdEncoding.DecodeString(hash)
	if !ok || err != nil {
		return nil, fmt.Errorf("module %s %s: %q is no hash as go.sum has it", m.Path, m.Version, m.Sum)
	}
	return &intoto.ResourceDescriptor{
		Uri:    "pkg:golang/" + m.Path + "@" + m.Version,
		Digest: map[string]string{"dirHash": hex.EncodeToString(raw)},
	}, nil
}

// readStatement takes a provenance as its specification and its types allow it,
// and no field that they do not know.
func readStatement(line []byte) (*intoto.Statement, *slsa.Provenance, error) {
	s, p := new(intoto.Statement), new(slsa.Provenance)
	if err := protojson.Unmarshal(line, s); err != nil {
		return nil, nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, nil, err
	}
	if s.GetType() != intoto.StatementTypeUri || s.GetPredicateType() != slsaPredicate {
		return nil, nil, fmt.Errorf("it is a %s about %s", s.GetType(), s.GetPredicateType())
	}
	predicate, err := protojson.Marshal(s.GetPredicate())
	if err != nil {
		return nil, nil, err
	}
	if err := protojson.Unmarshal(predicate, p); err != nil {
		return nil, nil, err
	}
	return s, p, p.Validate()
}
