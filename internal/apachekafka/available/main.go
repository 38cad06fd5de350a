// Command available tells the Makefile whether a real Apache Kafka can be
// started for tests here: exit code 0, or 1 and what is missing. With the
// argument "fetch" it also fetches the jars, so that no test has to; of the
// versions that follow, if any do, in place of those that make test needs. With
// "versions" it prints all that there are.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"

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
	if len(os.Args) < 2 {
		return nil
	}
	switch os.Args[1] {
	case "fetch":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		return apachekafka.Fetch(ctx, os.Args[2:]...)
	case "versions":
		all, err := apachekafka.Versions()
		fmt.Println(strings.Join(all, " "))
		return err
	}
	return fmt.Errorf("available takes fetch or versions, not %q", os.Args[1])
}
