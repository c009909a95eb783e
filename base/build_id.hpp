// Which build of the program this is: two builds that differ in a byte differ here.
#pragma once

#include <string>

namespace callboard {

/// 16 hexadecimal digits of the GNU build id of the executable; empty if it was linked without one.
[[nodiscard]] const std::string& build_id();

}  // namespace callboard
