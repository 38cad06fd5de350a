//go:build !unix

package apachekafka

import (
	"context"
	"errors"
)

func lock(context.Context, string) (unlock func(), err error) {
	return nil, errors.New("only on Linux and other Unixes")
}
