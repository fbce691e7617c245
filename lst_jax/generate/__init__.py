"""Text and speech from a trained model: prompts, the loop over tokens, sampling, sound."""
