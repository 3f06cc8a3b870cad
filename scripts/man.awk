# SPDX-License-Identifier: MIT
# Makes of scdoc's output what `mandoc -T lint` has nothing to say about: no paragraph macro that sets
# nothing apart (after a heading, before the end of a list's item), an upper-case title, and text lines
# of at most 80 bytes.

function flush_paragraph() {
	if (paragraph && !after_heading)
		print ".P"
	paragraph = after_heading = 0
}

# Breaks at blanks; a line must not begin with what would be a control character.
function wrap(text,    words, n, i, line, word) {
	n = split(text, words, " ")
	line = words[1]
	for (i = 2; i <= n; i++) {
		word = words[i]
		if (length(line) + 1 + length(word) <= 80) {
			line = line " " word
			continue
		}
		print line
		line = (word ~ /^[.']/ ? "\\&" : "") word
	}
	print line
}

/^\.TH / { $2 = toupper($2); print; after_heading = 1; next }
/^\.(SH|SS) / { paragraph = 0; print; after_heading = 1; next }
/^\.P$/ { paragraph = 1; next }
# Between an item and what follows it.
/^\.RE$/ { print; next }
{ flush_paragraph() }
/^\.nf/ { literal = 1 }
/^\.fi/ { literal = 0 }
/^[.']/ || literal || length <= 80 { print; next }
{ wrap($0) }
