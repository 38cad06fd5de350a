// Command available tells the Makefile whether a real Apache Kafka can be
// started for tests here: exit code 0, or 1 and what is missing. With the
// argument "fetch" it also fetches the jars, so that no test has to.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/closeorder/closeorder/internal/apachekafka"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if err := apachekafka.Available(); err != nil {
		return err
	}
	if len(os.Args) == 2 && os.Args[1] == "fetch" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		return apachekafka.Fetch(ctx)
	}
	return nil
}
