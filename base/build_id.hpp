// Which build of the program, or of a library of its, this is: two builds that differ in a byte
// differ here.
#pragma once

#include <string>

namespace callboard {

/// 16 hexadecimal digits of the GNU build id of the executable; empty if it was linked without one.
[[nodiscard]] const std::string& build_id();

/// The same of the object, a shared library perhaps, that has this code or data.
[[nodiscard]] std::string build_id_of(const void* address);

}  // namespace callboard
