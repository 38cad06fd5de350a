package chart

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/closeorder/closeorder/internal/leftout"
	"golang.org/x/sys/unix"
	core "k8s.io/api/core/v1"
)

// containerVariable tells this test's own binary, started again in namespaces of
// its own, which container to become.
const containerVariable = "CLOSEORDER_TEST_CONTAINER"

// box is what a container runtime is told.
type box struct {
	Root, Hostname string
	ReadOnlyRoot   bool
	Mounts         []boxMount
	UID, GID       int
	Groups         []int
	NoNewPrivs     bool
	DropAll        bool
	Command, Env   []string
}

type boxMount struct {
	Source, At string
	ReadOnly   bool
}

// container becomes what a box says: mounts, root folder, user, capabilities, and
// then the program. It runs as the first process of its namespaces.
func container() {
	runtime.LockOSThread() // prctl is of one thread, and this one execs
	fail := func(what string, err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "container: %s: %v\n", what, err)
			os.Exit(125)
		}
	}
	var b box
	fail("reading the box", json.Unmarshal([]byte(os.Getenv(containerVariable)), &b))
	fail("private mounts", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	fail("root", unix.Mount(b.Root, b.Root, "", unix.MS_BIND|unix.MS_REC, ""))
	for _, m := range b.Mounts {
		at := filepath.Join(b.Root, m.At)
		fail("mount "+m.At, unix.Mount(m.Source, at, "", unix.MS_BIND, ""))
		flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV)
		if m.ReadOnly {
			flags |= unix.MS_RDONLY
		}
		fail("remount "+m.At, unix.Mount("", at, "", flags, ""))
	}
	fail("proc", unix.Mount("proc", filepath.Join(b.Root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	if b.ReadOnlyRoot {
		fail("read-only root", unix.Mount("", b.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	}
	fail("hostname", unix.Sethostname([]byte(b.Hostname)))
	fail("chroot", unix.Chroot(b.Root))
	fail("chdir", unix.Chdir("/"))
	if b.DropAll {
		for capability := range 64 {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				fail("dropping a capability", err)
			}
		}
	}
	fail("groups", syscall.Setgroups(b.Groups))
	fail("gid", syscall.Setgid(b.GID))
	fail("uid", syscall.Setuid(b.UID))
	if b.NoNewPrivs {
		fail("no new privileges", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	}
	fail("death signal", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0))
	fail("exec", syscall.Exec(b.Command[0], b.Command, b.Env))
}

// entrypoint is that of the image.
func entrypoint(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ENTRYPOINT \["([^"]+)"\]$`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the Dockerfile has no ENTRYPOINT of one word")
	}
	return string(m[1])
}

// needsContainers skips a test, or fails it where nothing may be left out, on a
// machine where no container can be made.
func needsContainers(t *testing.T) {
	t.Helper()
	why := ""
	if os.Getuid() != 0 {
		why = "it needs root"
	} else if err := tryNamespaces(); err != nil {
		why = "it may not make namespaces: " + err.Error()
	}
	if why != "" {
		leftout.Test(t, "the pod cannot be run here: "+why)
	}
}

func tryNamespaces() error {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
	return cmd.Run()
}

// process is a container that runs.
type process struct {
	cmd   *exec.Cmd
	log   string // file
	ended <-chan error
}

// startContainer starts a pod's container from what was materialised, with the
// user, the root folder and the privileges that the pod says.
func startContainer(t *testing.T, p pod, m *made, log string) *process {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	command := entrypoint(t)
	image(t, m.dir, command, binary)
	c := p.worker()
	if len(c.Command) > 0 {
		t.Fatal("the pod has a command of its own, and this test takes the image's entrypoint")
	}
	b := box{
		Root: m.dir, Hostname: p.name, Command: append([]string{command}, m.args...), Env: m.env,
		UID: 65532, GID: 65532, // of the image
	}
	secure(&b, p.spec.SecurityContext, c.SecurityContext)
	for _, mount := range c.VolumeMounts {
		at := filepath.Join(m.dir, mount.MountPath)
		if info, err := os.Lstat(at); err == nil && info.Mode()&os.ModeSymlink != 0 {
			if err := errors.Join(os.Remove(at), os.Mkdir(at, 0o755)); err != nil {
				t.Fatal(err)
			}
		}
		b.Mounts = append(b.Mounts, boxMount{m.volumes[mount.Name].dir, mount.MountPath, mount.ReadOnly})
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(self)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{containerVariable + "=" + string(text)}, file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL,
	}
	ended, started := make(chan error, 1), make(chan error)
	go func() {
		// The death signal comes when the thread dies that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	out := &process{cmd: cmd, log: log, ended: ended}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, where the test did what it says
		if t.Failed() {
			t.Logf("--- the log of %s:\n%s", p.name, out.written())
		}
	})
	return out
}

// secure takes over what the pod says of users and privileges.
func secure(b *box, p *core.PodSecurityContext, c *core.SecurityContext) {
	if p != nil {
		if p.RunAsUser != nil {
			b.UID = int(*p.RunAsUser)
		}
		if p.RunAsGroup != nil {
			b.GID = int(*p.RunAsGroup)
		}
		if p.FSGroup != nil {
			b.Groups = append(b.Groups, int(*p.FSGroup))
		}
	}
	if c != nil {
		b.ReadOnlyRoot = c.ReadOnlyRootFilesystem != nil && *c.ReadOnlyRootFilesystem
		b.NoNewPrivs = c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation
		b.DropAll = c.Capabilities != nil && len(c.Capabilities.Drop) == 1 && c.Capabilities.Drop[0] == "ALL"
	}
}

// image lays out what the image and a container runtime bring: the program, a
// user, certificates, names of hosts, /tmp and /proc.
func image(t *testing.T, root, command, binary string) {
	t.Helper()
	for _, dir := range []string{"proc", "tmp", "etc/ssl/certs", "home/nonroot", filepath.Dir(command)} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o1777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
		"etc/group":  "root:x:0:\nnonroot:x:65532:\n",
		"etc/hosts":  "127.0.0.1 localhost\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(root, command)
	if err := os.Link(binary, to); err != nil && !errors.Is(err, os.ErrExist) {
		text, err := os.ReadFile(binary)
		if err == nil {
			err = os.WriteFile(to, text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (p *process) written() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// is looks at the running process from outside: whether the kernel agrees with
// what the pod says.
func (p *process) is(t *testing.T) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Uid:\t65532\t65532\t65532\t65532\n", "Gid:\t65532\t65532\t65532\t65532\n", "Groups:\t65532 \n", "NoNewPrivs:\t1\n",
		"CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "CapAmb:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process has not %q:\n%s", want, status)
		}
	}
	mounts, err := os.ReadFile(proc + "mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	// Mount point and options: fields 5 and 6, as the process sees them.
	options := map[string]string{}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 5 {
			options[f[4]] = f[5]
		}
	}
	for at, option := range options {
		if at != "/proc" && !strings.HasPrefix(option, "ro") {
			t.Errorf("%s can be written to: %s", at, option)
		}
	}
	if len(options) < 4 {
		t.Errorf("its mounts are %q", options)
	}
}

// peak is the most memory that it has had, in bytes.
func (p *process) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var kilobytes int64
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(after, &kilobytes); err != nil {
		t.Fatalf("%v in %s", err, status)
	}
	return kilobytes << 10
}
