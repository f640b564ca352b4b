#pragma once
// The torch wheel ships c10d's Gloo header without Gloo's own. These five files declare just what that header names.
