package apachekafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// minJava is the oldest Java that brokers of Apache Kafka 4 run on.
const minJava = 17

// java runs classes of the fetched jars.
type java struct {
	executable string
	jars       string // folder
	log4j      string // the folder with the configurations of log4j
	version    release
}

// Available returns nil when [Start] can work on this machine: Java 17 or
// later, and the jars or a Maven to fetch them with. The error names what is
// missing. It fetches nothing.
func Available() error {
	d, err := findDescriptor("")
	if err != nil {
		return err
	}
	_, javaErr := javaExecutable(context.Background())
	return errors.Join(javaErr, d.available())
}

func findJava(ctx context.Context, version string) (java, error) {
	d, err := findDescriptor(version)
	if err != nil {
		return java{}, err
	}
	executable, err := javaExecutable(ctx)
	if err != nil {
		return java{}, err
	}
	jars, err := d.jars(ctx, os.Stderr)
	if err != nil {
		return java{}, err
	}
	is, err := parseRelease(d.version)
	if err != nil {
		return java{}, err
	}
	return java{executable: executable, jars: jars, log4j: d.root, version: is}, nil
}

// javaExecutable returns the java of JAVA_HOME, else that of PATH.
func javaExecutable(ctx context.Context) (string, error) {
	name := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		name = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("no java (JAVA_HOME, PATH): install Java %d or later", minJava)
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s -version: %w\n%s", path, err, out)
	}
	major, err := javaVersion(string(out))
	if err != nil {
		return "", fmt.Errorf("%s -version: %w", path, err)
	}
	if major < minJava {
		return "", fmt.Errorf("%s is Java %d: Apache Kafka 4 needs Java %d or later", path, major, minJava)
	}
	return path, nil
}

// javaVersion reads the major version from the output of java -version, such
// as: openjdk version "17.0.15" 2025-04-15. Java 8 calls itself 1.8.
func javaVersion(output string) (int, error) {
	found := majorVersion.FindStringSubmatch(output)
	if found == nil {
		return 0, fmt.Errorf("no version in %q", output)
	}
	return strconv.Atoi(found[1])
}

var majorVersion = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// command prepares a class to be run. The options make for a quick start and
// little memory: these processes live for seconds. When ctx ends the process
// gets SIGTERM, and SIGKILL when that does not end it.
func (j java) command(ctx context.Context, heapMiB int, logLevel, class string, args ...string) *exec.Cmd {
	all := []string{
		fmt.Sprintf("-Xms%dm", heapMiB), fmt.Sprintf("-Xmx%dm", heapMiB),
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError",
		"-Djava.net.preferIPv4Stack=true", "-Dzookeeper.jmx.log4j.disable=true", "-Djava.awt.headless=true",
		// The first for Apache Kafka 4, the second for what came before.
		"-Dlog4j2.configurationFile=" + filepath.Join(j.log4j, "log4j2.xml"),
		"-Dlog4j.configuration=file:" + filepath.Join(j.log4j, "log4j.properties"),
		"-Dcloseorder.log.level=" + logLevel,
		"-cp", filepath.Join(j.jars, "*"), class,
	}
	cmd := exec.CommandContext(ctx, j.executable, append(all, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = toolStopTimeout
	return cmd
}

// toolStopTimeout bounds a clean stop of a console tool, toolHeapMiB is its
// heap.
const (
	toolStopTimeout = 10 * time.Second
	toolHeapMiB     = 96
)

// run runs a class to its end and returns what it wrote to stdout. It is
// stopped when ctx ends. The error holds the end of what it wrote to stderr.
func (j java) run(ctx context.Context, class string, args ...string) (string, error) {
	cmd := j.command(ctx, toolHeapMiB, "error", class, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := startProcess(cmd)
	if err != nil {
		return "", err
	}
	<-p.done
	if err = p.err; ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", class, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}
