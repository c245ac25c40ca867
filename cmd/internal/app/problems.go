package app

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// SettingError is one setting that breaks a rule.
type SettingError struct {
	Setting string // the variable, or the flag where there is no variable
	Flag    string // of the variable, where the verb gives it another name than most
	Value   string // as it was understood; empty for secrets
	Rule    string
}

// Error names the setting by variable and flag, what it is, and what it must be.
func (e *SettingError) Error() string {
	name := e.Setting
	if !strings.HasPrefix(name, "--") {
		name += " (" + cmp.Or(e.Flag, flagOf(e.Setting)) + ")"
	}
	if e.Value == "" {
		return name + " " + e.Rule
	}
	return fmt.Sprintf("%s is %s: %s", name, e.Value, e.Rule)
}

// flagOf gives the flag of a variable: kebab-case, without the prefix that only the environment needs.
func flagOf(variable string) string {
	return "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "LINEPAY_"), "_", "-"))
}

// problems collects every broken rule, so that one start tells them all.
type problems []error

func (p *problems) require(holds bool, setting string, value any, rule string) {
	if !holds {
		*p = append(*p, &SettingError{Setting: setting, Value: redact(fmt.Sprint(value)), Rule: rule})
	}
}

func (p *problems) add(err error) {
	if err != nil {
		*p = append(*p, err)
	}
}

func (p problems) error() error { return errors.Join(p...) }

// redact shows an address without what may be secret in it: user information and query. It does not parse, since an address that
// cannot be parsed is the very one that ends up in an error, and a password may hold a slash or a comma.
func redact(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "", address
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "…@" + rest[at+1:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	return scheme + rest
}
