package main

import (
	"archive/tar"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/authority"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/leftout"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// startedInside says to this program, started once more in namespaces of its
// own, where the root of the container is.
const startedInside = "CLOSEORDER_RELEASE_TEST_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(startedInside); root != "" {
		os.Exit(inside(root, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// inside does what a container engine does: a root that cannot be written, with
// /proc, and the program as the user of the image. It runs in a mount namespace
// of its own; where it is not root outside, in a user namespace too.
func inside(root string, args []string) int {
	for _, mount := range []struct {
		source, target string
		flags          uintptr
	}{
		{"", "/", syscall.MS_REC | syscall.MS_PRIVATE},
		{root, root, syscall.MS_BIND | syscall.MS_REC},
		{"/proc", filepath.Join(root, "proc"), syscall.MS_BIND | syscall.MS_REC},
		{"", root, syscall.MS_REMOUNT | syscall.MS_BIND | syscall.MS_RDONLY | syscall.MS_NOSUID | syscall.MS_NODEV},
	} {
		if err := syscall.Mount(mount.source, mount.target, "", mount.flags, ""); err != nil {
			fmt.Fprintf(os.Stderr, "mount %s: %v\n", mount.target, err)
			return 125
		}
	}
	os.Unsetenv(startedInside)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Dir = "/home/nonroot"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: nonroot, Gid: nonroot}}
	if os.Getenv("CLOSEORDER_RELEASE_TEST_USERS") != "" {
		os.Unsetenv("CLOSEORDER_RELEASE_TEST_USERS")
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.Credential.NoSetGroups = true
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nonroot, HostID: 0, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nonroot, HostID: 0, Size: 1}}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	return 0
}

// container is an image, unpacked.
type container struct {
	root   string
	config v1.Config
}

// run starts the image's entrypoint with these arguments, as "docker run
// --read-only" does, and returns what it says.
func (c *container) run(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", append(c.config.Entrypoint, args...)...)
	cmd.Env = append(append([]string{startedInside + "=" + c.root}, c.config.Env...), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.Env = append(cmd.Env, "CLOSEORDER_RELEASE_TEST_USERS=1")
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != 125 {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		// Nothing of the image has run yet.
		leftout.Test(t, fmt.Sprintf("no mount namespace, user namespace or chroot here (be root on Linux): %v %s", err, out))
	}
	return string(out), 0
}

// The image of closeorder itself is unpacked and started: as its user, with a
// root that nobody can write.
func TestTheImageRuns(t *testing.T) {
	t.Parallel()
	trusted, other := authority.New(t, "trusted here"), authority.New(t, "trusted by nobody")
	c := unpacked(t, trusted.PEM)

	t.Run("it says its version", func(t *testing.T) {
		said, code := c.run(t, nil, "version")
		if code != 0 || !strings.HasPrefix(said, "closeorder ") || !strings.Contains(said, runtime.Version()+" linux/"+runtime.GOARCH) {
			t.Errorf("exit code %d: %s", code, said)
		}
	})
	t.Run("a worker serves, and knows the time zone", func(t *testing.T) {
		said, code := c.run(t, []string{"TZ=Asia/Shanghai"}, "dev", "--requests", "5", "--exit", "--kafka-port", "0", "--gateway-port", "0", "--log-level", "info")
		if code != 0 || !strings.Contains(said, "5 = 4 closed + 1 paid + 0 failed") || !strings.Contains(said, `+08:00" level=info msg="partitions assigned"`) {
			t.Errorf("exit code %d: %s", code, said)
		}
	})
	t.Run("nothing can be written", func(t *testing.T) {
		said, code := c.run(t, nil, "dev", "--requests", "1", "--exit", "--data-dir", "/tmp/data", "--kafka-port", "0", "--gateway-port", "0")
		if code == 0 || !strings.Contains(said, "read-only file system") {
			t.Errorf("exit code %d: %s", code, said)
		}
	})
	// A file of the image is the only one that names the authority.
	closes := func(t *testing.T, by *authority.Authority) (string, int) {
		t.Helper()
		return c.run(t, []string{"CLOSEORDER_API_KEY=" + gatewaysim.DirectKey}, "close",
			"--gateway-urls", gateway(t, by), "--mch-id", gatewaysim.DefaultMerchants()[0].MchID, "--appid", "wx8888888888888888",
			"--out-trade-no", "T1", "--gateway-attempt-timeout", "1s", "--gateway-budget", "2s")
	}
	t.Run("a gateway with a certificate of a root in the image is called", func(t *testing.T) {
		if said, code := closes(t, trusted); code != 0 || !strings.Contains(said, "closed") {
			t.Errorf("exit code %d: %s", code, said)
		}
	})
	t.Run("one with another certificate is not", func(t *testing.T) {
		if said, code := closes(t, other); code != 1 || !strings.Contains(said, "unknown authority") {
			t.Errorf("exit code %d: %s", code, said)
		}
	})
}

// gateway is the simulator behind TLS, with a certificate of the authority.
func gateway(t *testing.T, by *authority.Authority) string {
	t.Helper()
	simulator, err := gatewaysim.New(gatewaysim.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := by.Issue(t, authority.Wanted{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(simulator)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that refuses is what one test is about
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// unpacked is the image of closeorder for this machine as a folder. A root of
// the tests is among its roots.
func unpacked(t *testing.T, root []byte) *container {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "closeorder")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-trimpath", "-o", binary, "./cmd/closeorder")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p, err := newProgram(binary, get(t, binary))
	if err != nil {
		t.Fatal(err)
	}
	s := built()
	if s.err != nil {
		t.Fatal(s.err)
	}
	roots, _ := authorities()
	files, err := base(append(roots, root...), get(t, s.zones))
	if err != nil {
		t.Fatal(err)
	}
	r := &release{version: "v0.0.0", time: time.Unix(1764300000, 0)}
	below, err := layerOf(files, r.time)
	if err != nil {
		t.Fatal(err)
	}
	img, err := r.image(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, p, below, "")
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := &container{root: t.TempDir(), config: config.Config}
	content := mutate.Extract(img)
	defer content.Close()
	unpack(t, content, c.root)
	// An engine makes the folder that it mounts something on.
	if err := os.Mkdir(filepath.Join(c.root, "proc"), 0o555); err != nil {
		t.Fatal(err)
	}
	// t.TempDir is for its owner alone, and so is what is above it.
	for folder := c.root; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func unpack(t *testing.T, content io.Reader, into string) {
	t.Helper()
	for in := tar.NewReader(content); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(into, h.Name)
		mode := os.FileMode(h.Mode & 0o777)
		if h.Mode&0o1000 != 0 {
			mode |= os.ModeSticky
		}
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(to, 0o755)
		} else {
			var body bytes.Buffer
			if _, err = io.Copy(&body, in); err == nil {
				err = os.WriteFile(to, body.Bytes(), 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := os.Chown(to, h.Uid, h.Gid); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(to, mode); err != nil {
			t.Fatal(err)
		}
	}
}
