package linepay

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

func TestObserverIsToldOfEachCallAndHowItCameOut(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, `{"returnCode":"1150","returnMessage":"no transaction"}`)
	client, err := New(Config{BaseURL: server.URL, ChannelID: channelForTests, Secret: secretForTests})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	var told []string
	watched := client.Observed(func(ctx context.Context, op Operation) (context.Context, func(error)) {
		told = append(told, "begins "+string(op))
		ctx, cancel := context.WithCancel(ctx)
		if len(told) > 2 {
			cancel() // the call goes on with the context that the observer gives
		}
		return ctx, func(err error) { cancel(); told = append(told, fmt.Sprint("ends ", VerdictOf(err))) }
	})
	for range 2 {
		if _, err := watched.Void(t.Context(), 1); err == nil {
			t.Error("no error where LINE Pay refuses")
		}
	}
	if _, err := client.Void(t.Context(), 1); err == nil { // nobody watches
		t.Error("no error where LINE Pay refuses")
	}
	if want := []string{"begins void", "ends refused", "begins void", "ends not-sent"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if _, err := watched.Void(t.Context(), 0); err == nil || len(told) != 4 {
		t.Errorf("what is refused here is no call, and was told of: %q (error %v)", told, err)
	}
}
