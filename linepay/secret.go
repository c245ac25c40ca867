package linepay

import "fmt"

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
