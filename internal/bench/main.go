// Command bench measures closeorder beside workers that others would write:
// throughput, CPU, memory, and what one merchant's trouble costs the others. It
// brings all that it needs: a broker (kfake) and a gateway, each in a process of
// its own on a free port, which are this program again in another role.
//
//	scenario -> stage: broker, gateway -> worker -> load -> figures -> ratios, by round -> table, plot, baseline
//
// docs/performance.md says how to read what it prints. It is a module of its own:
// what it measures against is no dependency of closeorder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 3 && roles[os.Args[1]] != nil {
		err = roles[os.Args[1]](ctx, []byte(os.Args[2]))
	} else {
		err = bench(ctx, os.Args[1:])
	}
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &wrong):
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
