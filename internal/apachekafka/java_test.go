package apachekafka

import "testing"

func TestJavaVersion(t *testing.T) {
	for output, want := range map[string]int{
		"openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)": 17,
		"openjdk version \"21\" 2023-09-19":                                          21,
		"openjdk version \"26-ea\" 2026-03-17":                                       26,
		"java version \"1.8.0_402\"":                                                 8,
		"Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"25.0.1\" 2025-10-21": 25,
	} {
		got, err := javaVersion(output)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", output, got, err, want)
		}
	}
	for _, output := range []string{"", "java: command not found", `version "next"`} {
		if got, err := javaVersion(output); err == nil {
			t.Errorf("%q: read as Java %d", output, got)
		}
	}
}
