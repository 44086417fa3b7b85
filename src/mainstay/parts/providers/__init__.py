"""Models behind APIs: each file speaks one provider's wire."""
