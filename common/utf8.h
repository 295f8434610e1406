#ifndef COMMON_UTF8_H_
#define COMMON_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace failover {

// Length (1–4) of the well-formed UTF-8 sequence that `text` begins with (Unicode 15, table 3-7: no
// surrogates, no overlong forms); 0 when it begins with none.
size_t Utf8SequenceLength(absl::string_view text);

// `text` with every byte that belongs to no well-formed sequence replaced by U+FFFD. A protobuf
// string and a JSON text must be valid: to be applied to foreign text before it becomes either.
std::string ToValidUtf8(absl::string_view text);

// At most `max_bytes` bytes of `text`, cut between characters, then "…" if something was cut.
std::string CutText(absl::string_view text, size_t max_bytes);

}  // namespace failover

#endif  // COMMON_UTF8_H_
