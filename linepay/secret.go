package linepay

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Secret is a credential that cannot be printed by accident: every formatting verb and every encoder writes "[secret]".
type Secret string

const hidden = "[secret]"

// Reveal gives the credential itself, for signing and nothing else.
func (s Secret) Reveal() string { return string(s) }

// String writes "[secret]".
func (s Secret) String() string { return hidden }

// Format writes "[secret]" for every verb, %#v and %x included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalText writes "[secret]", so that JSON and YAML encoders do too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// secretBox holds a client's secret, and those that it had before: the answer to a call that was signed with one may come late.
type secretBox struct {
	mu  sync.RWMutex
	all []Secret // the newest comes last
}

func (b *secretBox) newest() Secret {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.all[len(b.all)-1]
}

func (b *secretBox) keep(secret Secret) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(slices.DeleteFunc(b.all, func(s Secret) bool { return s == secret }), secret)
}

// hide writes "[secret]" in the place of each.
func (b *secretBox) hide(text string) string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, secret := range b.all {
		text = strings.ReplaceAll(text, secret.Reveal(), hidden)
	}
	return text
}
