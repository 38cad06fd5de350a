// Command closeorder closes WeChat Pay orders on request from Kafka and
// publishes one trustworthy outcome for each. One file per command; this one
// is signals and exit codes only.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// The first signal asks to stop. From then on signals do what they do by
		// default, so that a second one ends the process at once. The cause stands
		// in messages: let it be a word for people, not the name of a signal.
		signal.Stop(signals)
		stop(stopped{})
	}()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Environ(), setGCPercent: debug.SetGCPercent}
	os.Exit(a.run(ctx, os.Args[1:]))
}
