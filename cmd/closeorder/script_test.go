package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"closeorder": main}) }

// TestScripts runs what stands in testdata/script: commands that need no Kafka,
// as a shell has them. Beside the commands of testscript there is
//
//	code N ARGS...   runs closeorder, which must end with exit code N
func TestScripts(t *testing.T) {
	const scripts = "testdata/script"
	if found, err := filepath.Glob(filepath.Join(scripts, "*.txtar")); err != nil || len(found) == 0 {
		t.Fatalf("there is no script: %v", err)
	}
	documents, err := filepath.Abs("../../events/schema")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 scripts,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KEY", publicKey)
			env.Setenv("SCHEMAS", documents)
			return os.WriteFile(filepath.Join(env.WorkDir, "key"), []byte(publicKey+"\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: code N ARGS...")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				code := exitDone
				var ended *exec.ExitError
				if err := ts.Exec("closeorder", args[1:]...); errors.As(err, &ended) {
					code = ended.ExitCode()
				} else {
					ts.Check(err)
				}
				if code != want {
					ts.Fatalf("exit code %d, want %d", code, want)
				}
			},
		},
	})
}
