package main

import (
	"slices"
	"strings"
	"testing"
)

func TestEachBranchOfLuaIsChangedOnce(t *testing.T) {
	t.Parallel()
	const source = `-- a comment with if x then
local a, b = KEYS[1], "if 'y' then \" and"
local function f(x, ...)
  if not x then return end -- and or
  while #x > 1 do x = g(x)['and'] end
  for _, s in ipairs(x or {y = 1, [2] = a and b}) do h(s) end
  return x and (a == 1 or b:c(2) < 3)
  -- the end
end
if f(a) then a = 1 elseif a == [[ or ]] then a = 2 else a = 3 end
repeat a = function() return a or b end until a
`
	want := []string{
		"f: if not x is never true: if false then return end -- and or",
		"f: while #x > 1 is never true: while false do x = g(x)['and'] end",
		"f: a and b without a: for _, s in ipairs(x or {y = 1, [2] = b}) do h(s) end",
		"f: a and b without b: for _, s in ipairs(x or {y = 1, [2] = a}) do h(s) end",
		"f: x or {y = 1, [2] = a and b} without x: for _, s in ipairs({y = 1, [2] = a and b}) do h(s) end",
		"f: x or {y = 1, [2] = a and b} without {y = 1, [2] = a and b}: for _, s in ipairs(x) do h(s) end",
		"f: a == 1 or b:c(2) < 3 without a == 1: return x and (b:c(2) < 3)",
		"f: a == 1 or b:c(2) < 3 without b:c(2) < 3: return x and (a == 1)",
		"f: x and (a == 1 or b:c(2) < 3) without x: return (a == 1 or b:c(2) < 3)",
		"f: x and (a == 1 or b:c(2) < 3) without (a == 1 or b:c(2) < 3): return x",
		"script: if f(a) is never true: if false then a = 1 elseif a == [[ or ]] then a = 2 else a = 3 end",
		"script: if f(a) is always true: if true then a = 1 elseif a == [[ or ]] then a = 2 else a = 3 end",
		"script: elseif a == [[ or ]] is never true: if f(a) then a = 1 elseif false then a = 2 else a = 3 end",
		"script: elseif a == [[ or ]] is always true: if f(a) then a = 1 elseif true then a = 2 else a = 3 end",
		"script: a or b without a: repeat a = function() return b end until a",
		"script: a or b without b: repeat a = function() return a end until a",
	}
	l := newList()
	if err := mutateLua("a/a.lua", source, l); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(source, "\n")
	var got []string
	for _, m := range l.all {
		for i, line := range strings.Split(m.text, "\n") {
			if line != lines[i] {
				got = append(got, m.function+": "+m.change+": "+strings.TrimSpace(line))
				if i+1 != m.line {
					t.Errorf("%s: it is line %d", m, i+1)
				}
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("mutants are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatIsNoLuaIsAnError(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"if a the b end":        "a.lua: line 1: <name> where then is expected",
		"\nlocal x = )":         "a.lua: line 2: ) where an expression is expected",
		"x = 'open":             "a.lua: offset 4: a string without end",
		"x = [[open":            "a.lua: offset 4: a string without end",
		"x = $":                 `a.lua: offset 4: "$" is no Lua`,
		"if a then b() end end": "a.lua: line 1: end where <end> is expected",
	} {
		if err := mutateLua("a.lua", source, newList()); err == nil || err.Error() != want {
			t.Errorf("%q: error is %v, want %s", source, err, want)
		}
	}
}
