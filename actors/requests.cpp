#include "actors/requests.hpp"

namespace callboard::actors {

control_body::control_body() noexcept = default;
control_body::~control_body() = default;
control_body::control_body(const control_body&) = default;
control_body& control_body::operator=(const control_body&) = default;
control_body::control_body(control_body&&) noexcept = default;
control_body& control_body::operator=(control_body&&) noexcept = default;

control_answer::control_answer() noexcept = default;
control_answer::~control_answer() = default;
control_answer::control_answer(const control_answer&) = default;
control_answer& control_answer::operator=(const control_answer&) = default;
control_answer::control_answer(control_answer&&) noexcept = default;
control_answer& control_answer::operator=(control_answer&&) noexcept = default;

}  // namespace callboard::actors
