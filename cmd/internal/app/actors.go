package app

import (
	"context"
	"errors"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Actor is a part of a program that runs until its context ends. It returns when it has put its things in order.
type Actor func(context.Context) error

// Run starts all actors and ends them together: on SIGTERM or SIGINT, when ctx ends, or as soon as one of them returns, with or without
// an error. It waits for all of them and gives the first error; that the context ended is none.
//
// A second signal ends the process at once, for an operator who will not wait.
func Run(ctx context.Context, actors ...Actor) error {
	ctx, restore := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer restore()
	// The context passes on the first signal alone; after it the signals get back their own effect.
	defer context.AfterFunc(ctx, restore)()

	group, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	defer end()
	for _, actor := range actors {
		group.Go(func() error {
			defer end()
			err := actor(ctx)
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}
